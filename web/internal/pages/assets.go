package pages

import (
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"net/http"
	"path"

	"github.com/auditsql/auditsql/web/internal/phrase"
)

//go:embed style.css
var styleSheet []byte

//go:embed script.js
var script []byte

//go:embed icon.svg
var icon []byte

// The addresses of what pages are made of. Each has a part of the hash of its content, so a browser may keep it for ever, and a new
// version of the program is seen at once.
var (
	StyleSheet = asset("style.css", styleSheet)
	Script     = asset("script.js", script)
	Icon       = asset("icon.svg", icon)
)

// AssetsPath is the path below which the assets are.
const AssetsPath = "/assets/"

func asset(name string, content []byte) phrase.Address {
	sum := sha256.Sum256(content)
	ext := path.Ext(name)
	return phrase.To(AssetsPath+name[:len(name)-len(ext)]+"-"+hex.EncodeToString(sum[:6])+ext, nil)
}

var assets = map[string][]byte{string(StyleSheet): styleSheet, string(Script): script, string(Icon): icon}

// ServeAsset answers with the style sheet, the script or the icon. It reports false for any other path, and then has written nothing.
func ServeAsset(w http.ResponseWriter, r *http.Request) bool {
	content, ok := assets[r.URL.Path]
	if !ok {
		return false
	}
	h := w.Header()
	h.Set("Content-Type", types[path.Ext(r.URL.Path)])
	h.Set("Cache-Control", "public, max-age=31536000, immutable")
	h.Set("X-Content-Type-Options", "nosniff")
	_, _ = w.Write(content)
	return true
}

// types are the types of assets. The tables of the system are not asked: they differ.
var types = map[string]string{".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}
