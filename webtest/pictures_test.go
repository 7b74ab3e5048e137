package webtest

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/chromedp/chromedp"
)

// documented are the pages whose pictures stand in the documents, by the names of the files.
var documented = map[string]string{
	"home": "home", "timeline": "timeline", "query": "query", "impact": "impact", "answers": "answers", "diff": "diff",
}

// imagesOfDocuments is the folder of the pictures in the documents.
const imagesOfDocuments = "../docs/img"

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
	pages := s.demoPages()
	for _, l := range looks() {
		if *pictures == "" && l != wide {
			continue
		}
		b := s.visit(l)
		for _, p := range pages {
			name := documented[p.name]
			if *pictures == "" && name == "" {
				continue
			}
			b.visitPage(s, p)
			if *update && l == wide && name != "" {
				save(t, filepath.Join(documents, name+".png"), b.picture())
			}
			if *pictures == "" {
				continue
			}
			save(t, filepath.Join(*pictures, p.name+"-"+l.String()+".png"), b.picture())
			if l == wide {
				save(t, filepath.Join(*pictures, p.name+".pdf"), b.printed())
			}
		}
	}
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
