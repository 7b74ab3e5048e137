package web

import (
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/auditsql/auditsql/internal/show"
	"github.com/auditsql/auditsql/internal/tui"
)

// The media types of the forms.
const (
	typeJSON   = "application/json"
	typeNDJSON = "application/x-ndjson"
	typeCSV    = "text/csv; charset=utf-8; header=present"
	typeEvents = "text/event-stream"
	typeHTML   = "text/html"
	typeText   = "text/plain; charset=utf-8"
	typeDot    = "text/vnd.graphviz; charset=utf-8"
)

// events is the form of server-sent events, which only a tail has.
const events tui.Form = "events"

// mediaTypes are the types by which a client asks for a form; the first is the one that is sent.
var mediaTypes = map[tui.Form][]string{
	tui.JSON:   {typeJSON},
	tui.NDJSON: {typeNDJSON, "application/ndjson", "application/jsonl", "application/jsonlines"},
	tui.CSV:    {typeCSV},
	events:     {typeEvents},
	show.Dot:   {typeDot},
}

// contentType is the header of an answer in a form.
func contentType(form tui.Form) string { return mediaTypes[form][0] }

// chooseForm finds the form that a client wants: the parameter format, then the Accept header, then the first of the forms.
func chooseForm(r *http.Request, forms []tui.Form) (tui.Form, error) {
	if values := r.URL.Query(); values.Has(formName) {
		form := tui.Form(values.Get(formName))
		if !slices.Contains(forms, form) {
			return "", problem(kindNotAcceptable, "%s: want %s", formName, listed(forms)).at(formName)
		}
		return form, nil
	}
	ranges := acceptedBy(r)
	if len(ranges) == 0 {
		return forms[0], nil
	}
	best, quality := tui.Form(""), 0.0
	for _, form := range forms {
		for _, name := range mediaTypes[form] {
			if q := ranges.quality(name); q > quality {
				best, quality = form, q
			}
		}
	}
	if best == "" {
		return "", problem(kindNotAcceptable, "the Accept header wants none of the forms of this answer: %s", listed(forms))
	}
	return best, nil
}

func listed(forms []tui.Form) string {
	names := make([]string, len(forms))
	for i, form := range forms {
		names[i] = string(form)
	}
	return strings.Join(names, ", ")
}

// A mediaRange is a part of an Accept header.
type mediaRange struct {
	name    string // in lower case: text/html, text/*, */*
	quality float64
}

type mediaRanges []mediaRange

// acceptedBy reads the Accept header. What cannot be read there is left out.
func acceptedBy(r *http.Request) mediaRanges {
	var ranges mediaRanges
	for _, part := range strings.Split(strings.Join(r.Header.Values("Accept"), ","), ",") {
		name, parameters, err := mime.ParseMediaType(strings.TrimSpace(part))
		if err != nil || !strings.Contains(name, "/") {
			continue
		}
		quality := 1.0
		if text, given := parameters["q"]; given {
			if quality, err = strconv.ParseFloat(text, 64); err != nil || !(quality >= 0 && quality <= 1) {
				continue
			}
		}
		ranges = append(ranges, mediaRange{name, quality})
	}
	return ranges
}

// quality is how much a media type is wanted, from 0 to 1. The most exact range decides.
func (ranges mediaRanges) quality(mediaType string) float64 {
	name, _, _ := strings.Cut(mediaType, ";")
	kind, _, _ := strings.Cut(name, "/")
	for _, exact := range []string{name, kind + "/*", "*/*"} {
		for _, one := range ranges {
			if one.name == exact {
				return one.quality
			}
		}
	}
	return 0
}

// wantsPage reports whether a person looks at the answer: the client names HTML, and wants it more than JSON.
func wantsPage(r *http.Request) bool {
	ranges := acceptedBy(r)
	return slices.ContainsFunc(ranges, func(one mediaRange) bool { return one.name == typeHTML }) &&
		ranges.quality(typeHTML) > ranges.quality(typeJSON)
}
