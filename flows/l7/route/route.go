// Package route makes the names of HTTP operations: of which a service has few,
// whatever its clients send, and which hold no value a client chose.
//
// The query and the fragment are dropped, and scheme and authority of an absolute
// target. Each segment of the path is kept when it looks like a word of the
// service's own, else it is replaced:
//
//	{id}     decimal digits; a UUID; hexadecimal of 8 digits and more;
//	         a word and a number (user-42, a1b2); an e-mail address
//	{token}  longer than 40 octets; 16 and more with digits and letters mixed, or
//	         with capitals mixed as in base64; with octets that are not of a path's
//	         plain alphabet (percent escapes, non-ASCII, spaces, quotes, = , ; and so on)
//	{file}   the name of a file, its extension of 2 to 5 small letters and digits kept:
//	         {file}.js
//
// A method that is not registered is other.
//
// v1, v2.1 and the like (a version) and words with one digit at the end (oauth2,
// s3, http2) are kept. At most 8 segments and MaxOperation octets are named; what
// is behind them is {rest}. Matrix parameters (;a=b) are dropped. The names are
// still not bounded in number by themselves (a client may make up words): whoever
// counts by them caps them.
package route

import "github.com/weir-probe/weir/flows/l7"

// MaxTarget is how many octets of a target need to be kept to name it.
const MaxTarget = 512

const (
	maxSegments = 8
	maxWord     = 40 // octets of a segment that may be a word
	rest        = "/{rest}"
)

// Append appends method and templated route to dst, at most l7.MaxOperation
// octets. target is the request target as sent; cut says that it went on behind
// what is given. dst must have the room if nothing shall be allocated.
func Append(dst, method, target []byte, cut Cut) []byte {
	dst = appendMethod(dst, method)
	dst = append(dst, ' ')
	if len(target) == 1 && target[0] == '*' {
		return append(dst, '*')
	}
	if string(method) == "CONNECT" {
		return append(dst, "{authority}"...)
	}
	path, cut := pathOf(target, cut)
	return appendPath(dst, path, cut)
}

// Cut says whether a target was kept whole.
type Cut uint8

const (
	Whole Cut = iota
	Shortened
)

// appendMethod appends a method that is registered (RFC 9110 section 18.2 and what
// is in use of WebDAV); the others are one.
func appendMethod(dst, method []byte) []byte {
	switch string(method) {
	case "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "QUERY",
		"PROPFIND", "PROPPATCH", "MKCOL", "COPY", "MOVE", "LOCK", "UNLOCK", "REPORT", "SEARCH", "MKCALENDAR", "PURGE":
		return append(dst, method...)
	}
	return append(dst, "other"...)
}

// pathOf strips scheme, authority, query and fragment.
func pathOf(target []byte, cut Cut) ([]byte, Cut) {
	if len(target) > 0 && target[0] != '/' {
		target = afterAuthority(target)
	}
	for i, c := range target {
		if c == '?' || c == '#' {
			return target[:i], Whole
		}
	}
	return target, cut
}

func afterAuthority(target []byte) []byte {
	for i := 0; i+2 < len(target); i++ {
		if target[i] == '?' || target[i] == '#' {
			return target
		}
		if target[i] == ':' && target[i+1] == '/' && target[i+2] == '/' {
			for j := i + 3; j < len(target); j++ {
				if c := target[j]; c == '/' || c == '?' || c == '#' {
					return target[j:]
				}
			}
			return target[len(target):]
		}
	}
	return target
}

func appendPath(dst, path []byte, cut Cut) []byte {
	if len(path) == 0 || path[0] != '/' {
		if len(path) > 0 || cut == Shortened {
			return append(dst, rest...) // not a path at all
		}
		return append(dst, '/')
	}
	room := l7.MaxOperation - len(rest)
	for n := 0; len(path) > 0; n++ {
		path = path[1:]
		end := 0
		for end < len(path) && path[end] != '/' {
			end++
		}
		last := end == len(path)
		before := len(dst)
		if n < maxSegments && !(last && cut == Shortened) {
			dst = append(dst, '/')
			dst = appendSegment(dst, path[:end], last)
		}
		if n == maxSegments || last && cut == Shortened || len(dst) > room {
			return append(dst[:before], rest...)
		}
		path = path[end:]
	}
	return dst
}

func appendSegment(dst, s []byte, last bool) []byte {
	for i, c := range s {
		if c == ';' {
			s = s[:i]
			break
		}
	}
	k := look(s)
	switch {
	case k.isWord(s):
		return append(dst, s...)
	case last && k.plain && k.at == 0:
		if ext := extension(s); ext > 0 {
			return append(append(dst, "{file}"...), s[ext:]...)
		}
	}
	if k.isID(s) {
		return append(dst, "{id}"...)
	}
	return append(dst, "{token}"...)
}
