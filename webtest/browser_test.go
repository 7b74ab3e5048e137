package webtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// browser is the one browser of all tests. Each test has a profile of its own in it, with its own cookies.
var browser struct {
	sync.Mutex
	context context.Context
	close   func()
}

// chromium are the names under which the browser may be installed.
var chromium = []string{"chromium", "chromium-browser", "google-chrome", "chrome"}

// openBrowser returns the browser, and starts it at the first call.
func openBrowser(t testing.TB) context.Context {
	t.Helper()
	browser.Lock()
	defer browser.Unlock()
	if browser.context != nil {
		return browser.context
	}
	var name string
	for _, n := range chromium {
		if path, err := exec.LookPath(n); err == nil {
			name = path
			break
		}
	}
	if name == "" {
		missing(t, "chromium is not installed (Debian: apt-get install chromium)")
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(name),
		chromedp.NoSandbox, // it refuses to run as root with its sandbox, and opens our own pages alone
		chromedp.DisableGPU,
		chromedp.UserDataDir(filepath.Join(scratch, "browser")),
		// Nothing but what the tests open may be asked for.
		chromedp.Flag("disable-quic", true),
		chromedp.Flag("disable-component-update", true),
		chromedp.Flag("host-resolver-rules", "MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost"),
		// The same pictures on every machine.
		chromedp.Flag("font-render-hinting", "none"),
		chromedp.Flag("force-color-profile", "srgb"),
		chromedp.Flag("hide-scrollbars", true),
		chromedp.Env("TZ=UTC", "LANG=en_US.UTF-8"),
	)
	allocator, closeAllocator := chromedp.NewExecAllocator(context.Background(), options...)
	ctx, closeContext := chromedp.NewContext(allocator)
	if err := chromedp.Do(ctx); err != nil {
		closeContext()
		closeAllocator()
		t.Fatalf("start %s: %v", name, err)
	}
	browser.context = ctx
	browser.close = func() {
		_ = chromedp.Cancel(ctx) // waits until it has ended
		closeContext()
		closeAllocator()
	}
	return ctx
}

func closeBrowser() {
	browser.Lock()
	defer browser.Unlock()
	if browser.close != nil {
		browser.close()
	}
}

// tab is a page of the browser that one test uses. What a page says on its console is kept, and must be nothing.
type tab struct {
	t   testing.TB
	ctx context.Context

	mu   sync.Mutex
	said []string
}

// patience is how long a test waits for anything in the browser. It ends a test that hangs, and nothing else depends on it.
const patience = 30 * time.Second

// look is how a page is shown.
type look struct {
	width, height int64
	dark          bool
	scripts       bool
}

func (l look) String() string {
	theme := "light"
	if l.dark {
		theme = "dark"
	}
	s := fmt.Sprintf("%d-%s", l.width, theme)
	if !l.scripts {
		s += "-no-scripts"
	}
	return s
}

// wide and narrow are the widths of serve's promise.
var (
	wide   = look{width: 1200, height: 900, scripts: true}
	narrow = look{width: 360, height: 760, scripts: true}
)

func (l look) inTheDark() look { l.dark = true; return l }

func (l look) withoutScripts() look { l.scripts = false; return l }

// newTab opens a tab in a profile of its own, which is closed at the end of the test.
func newTab(t testing.TB, l look) *tab {
	t.Helper()
	ctx, cancel := chromedp.NewContext(openBrowser(t), chromedp.WithNewBrowserContext())
	b := &tab{t: t, ctx: ctx}
	t.Cleanup(func() {
		cancel()
		b.quiet()
	})
	if err := chromedp.Listen(ctx, b.hear); err != nil {
		t.Fatal(err)
	}
	b.show(l)
	return b
}

// show changes how pages are shown from now on.
func (b *tab) show(l look) {
	b.t.Helper()
	theme := "light"
	if l.dark {
		theme = "dark"
	}
	b.do(
		told(emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{
			Width: l.width, Height: l.height, DeviceScaleFactor: 1, Mobile: l.width < 600,
		}),
		told(emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{
			{Name: "prefers-color-scheme", Value: theme},
			{Name: "prefers-reduced-motion", Value: "reduce"},
		}}),
		told(emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: !l.scripts}),
	)
}

// told is an action that gives the browser a command and ignores its result.
func told[P, R any](command cdp.Command[P, R], params P) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, command, params)
		return err
	})
}

// hear keeps what a page says on its console, and answers dialogs, which no page may open.
func (b *tab) hear(event any) {
	keep := func(format string, args ...any) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.said = append(b.said, fmt.Sprintf(format, args...))
	}
	switch e := event.(type) {
	case *runtime.EventConsoleAPICalled:
		var args []string
		for _, a := range e.Args {
			args = append(args, string(a.Value)+a.Description)
		}
		keep("console.%s(%s)", e.Type, strings.Join(args, ", "))
	case *runtime.EventExceptionThrown:
		d := e.ExceptionDetails
		text := d.Text
		if d.Exception != nil {
			text += " " + d.Exception.Description
		}
		keep("exception: %s, line %d of %s", text, d.LineNumber+1, d.URL)
	case *log.EventEntryAdded:
		keep("%s: %s %s", e.Entry.Source, e.Entry.Text, e.Entry.URL)
	case *page.EventJavascriptDialogOpening:
		keep("a dialog: %s", e.Message)
		go func() { _, _ = chromedp.Call(b.ctx, page.HandleJavaScriptDialog, page.HandleJavaScriptDialogParams{}) }()
	}
}

// heard returns what was said since the last call.
func (b *tab) heard() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	said := b.said
	b.said = nil
	return said
}

// quiet fails the test if a page has said something on its console.
func (b *tab) quiet() {
	b.t.Helper()
	for _, s := range b.heard() {
		b.t.Errorf("on the console: %s", s)
	}
}

// do runs actions, and ends the test if one fails.
func (b *tab) do(actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, actions...); err != nil {
		if errors.Is(err, context.DeadlineExceeded) {
			err = fmt.Errorf("%w\nat %s\n%s", err, b.where(), b.rendered())
		}
		b.t.Fatal(err)
	}
}

// open goes to an address, and waits until the page is there.
func (b *tab) open(url string) {
	b.t.Helper()
	b.do(chromedp.Navigate(url), chromedp.WaitReady(chromedp.CSS("body")))
}

// where returns the address of the page.
func (b *tab) where() string {
	url, err := chromedp.Run(b.ctx, chromedp.Location())
	if err != nil {
		return err.Error()
	}
	return url
}

// rendered returns what a person reads on the page.
func (b *tab) rendered() string {
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	text, err := chromedp.Run(ctx, chromedp.Evaluate[string](`document.body.innerText`))
	if err != nil {
		return err.Error()
	}
	return text
}

// eval evaluates an expression in the page. It works without scripts too.
func eval[T any](b *tab, expression string) T {
	b.t.Helper()
	return result(b, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
}

// result runs an action and returns its value. It ends the test if the action fails.
func result[T any](b *tab, action chromedp.Action[T]) T {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	value, err := chromedp.Run(ctx, action)
	if err != nil {
		b.t.Fatalf("%v\nat %s", err, b.where())
	}
	return value
}

// await waits until an expression is true in the page.
func (b *tab) await(expression string) {
	b.t.Helper()
	b.do(chromedp.Poll[chromedp.Void](expression, chromedp.WithPollingTimeout(patience), chromedp.WithPollingInterval(20*time.Millisecond)))
}

// save writes a file into the folder of the pictures.
func save(t testing.TB, name string, content []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, content, 0o644); err != nil {
		t.Fatal(err)
	}
}
