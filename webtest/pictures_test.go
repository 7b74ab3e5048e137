package webtest

import (
	"bytes"
	"cmp"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

// documented are the pages whose pictures stand in the documents, by the names of the files.
var documented = map[string]string{
	"now":     "/?from=2026-11-23T09:30&to=2026-11-23T10:30",
	"trace":   "/q/4058e593",
	"answers": "/answers?subject=supplier/Northwind&predicate=payment_account",
}

// imagesOfDocuments is the folder of the pictures in the documents.
const imagesOfDocuments = "../docs/img"

// small is the window that the pictures of the documents show. What is further down on a page is not in its picture.
var small = look{width: 900, height: 540, scripts: true}

// mostOfDocuments is how many bytes the pictures of the documents may take together: everybody who clones the repository gets them.
const mostOfDocuments = 150_000

// TestPictures takes a picture of every page, light and dark, wide and narrow, and prints each into a PDF file: into the folder that
// -pictures names. With -update it writes the pictures of the documents.
func TestPictures(t *testing.T) {
	if *pictures == "" && !*update {
		t.Skip("pictures are taken with -pictures DIR, and those of the documents with -update")
	}
	documents, err := filepath.Abs(imagesOfDocuments)
	if err == nil && *pictures != "" {
		*pictures, err = filepath.Abs(*pictures)
	}
	if _, berr := program(); err != nil || berr != nil {
		t.Fatal(err, berr)
	}
	// Pages show the folder of the store. In the documents it is the one that the reader has made.
	t.Chdir(t.TempDir())
	const dir = "./incident"
	auditsql(t, "", "demo", "--keep", dir)
	s := serve(t, dir)
	if *update {
		b := s.visit(small)
		for name, address := range documented {
			b.open(s.url + address)
			save(t, filepath.Join(documents, name+".png"), fewColours(t, result(b, chromedp.CaptureScreenshot())))
		}
	}
	if *pictures == "" {
		return
	}
	pages := s.demoPages()
	for _, l := range looks() {
		b := s.visit(l)
		for _, p := range pages {
			b.visitPage(s, p)
			save(t, filepath.Join(*pictures, p.name+"-"+l.String()+".png"), b.picture())
			if l == wide {
				save(t, filepath.Join(*pictures, p.name+".pdf"), b.printed())
			}
		}
	}
}

// The documents show the pictures that are there, and these are small.
func TestThePicturesOfTheDocuments(t *testing.T) {
	t.Parallel()
	shown := map[string]bool{}
	for _, name := range []string{"../README.md", "../docs/investigating.md", "../docs/serving.md"} {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, found := range regexp.MustCompile(`!\[[^\]]+\]\(([^)]+)\)`).FindAllSubmatch(text, -1) {
			picture := filepath.Join(filepath.Dir(name), string(found[1]))
			if _, err := os.Stat(picture); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			shown[filepath.Base(picture)] = true
		}
	}
	files, err := os.ReadDir(imagesOfDocuments)
	if err != nil {
		t.Fatal(err)
	}
	files = slices.DeleteFunc(files, func(f os.DirEntry) bool { return filepath.Ext(f.Name()) != ".png" }) // Graphviz makes the others
	all := int64(0)
	for _, f := range files {
		about, err := f.Info()
		if err != nil {
			t.Fatal(err)
		}
		all += about.Size()
		if name, _, _ := strings.Cut(f.Name(), "."); documented[name] == "" || !shown[f.Name()] {
			t.Errorf("%s is not taken, or no document shows it", f.Name())
		}
	}
	if len(files) != len(documented) || all > mostOfDocuments {
		t.Errorf("%d pictures take %d bytes, and there should be %d with at most %d", len(files), all, len(documented), mostOfDocuments)
	}
}

// fewColours writes a picture with the 200 colours of which it has most. Every other one becomes the nearest of these. The edges of
// letters are all that it changes, and the file is much smaller.
func fewColours(t testing.TB, picture []byte) []byte {
	t.Helper()
	full, err := png.Decode(bytes.NewReader(picture))
	if err != nil {
		t.Fatal(err)
	}
	pixels := map[color.Color]int{}
	for y := full.Bounds().Min.Y; y < full.Bounds().Max.Y; y++ {
		for x := full.Bounds().Min.X; x < full.Bounds().Max.X; x++ {
			pixels[full.At(x, y)]++
		}
	}
	palette := color.Palette(slices.SortedFunc(maps.Keys(pixels), func(a, b color.Color) int {
		return cmp.Or(pixels[b]-pixels[a], cmp.Compare(fmt.Sprint(a), fmt.Sprint(b)))
	}))
	few := image.NewPaletted(full.Bounds(), palette[:min(200, len(palette))])
	draw.Draw(few, few.Bounds(), full, full.Bounds().Min, draw.Src)
	var out bytes.Buffer
	if err := (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&out, few); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// The trace of a record is printed on one page.
func TestATraceIsPrintedOnOnePage(t *testing.T) {
	t.Parallel()
	s := serve(t, demo(t))
	paid, _ := s.payment()
	b := s.visit(wide.inTheDark()) // on paper it is light
	b.open(s.url + "/q/" + paid.QueryID.String())
	name := filepath.Join(t.TempDir(), "trace.pdf")
	if err := os.WriteFile(name, b.printed(), 0o600); err != nil {
		t.Fatal(err)
	}
	if n := pdfPages(t, name); n != 1 {
		t.Errorf("the trace is printed on %d pages", n)
	}
}

// picture takes a picture of the whole page, down to its end.
func (b *tab) picture() (png []byte) {
	b.t.Helper()
	return result(b, chromedp.FullScreenshot(100))
}

// printed prints the page on A4.
func (b *tab) printed() (pdf []byte) {
	b.t.Helper()
	return result(b, chromedp.PrintToPDF(chromedp.PDFPaper(chromedp.PaperA4)))
}

// aPage finds the pages of a PDF file. The object that lists them has the type Pages.
var aPage = regexp.MustCompile(`/Type\s*/Page\b`)

func pdfPages(t testing.TB, name string) int {
	t.Helper()
	content, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return len(aPage.FindAll(content, -1))
}
