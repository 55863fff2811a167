package mongodb

import "go.mongodb.org/mongo-driver/v2/x/bsonx/bsoncore"

// walker goes through the elements of a document of which the end may be missing.
type walker struct {
	rest []byte
	key  []byte
	typ  bsoncore.Type
	// data is the value; of an embedded document or array that was cut off what there
	// is of it, of another value that was cut off nothing.
	data []byte
	done bool // all elements have been seen
}

// walk begins with the first element of doc, which begins with its length.
func walk(doc []byte) walker {
	n, rest, ok := bsoncore.ReadLength(doc)
	if !ok || n < 5 {
		return walker{}
	}
	return walker{rest: rest[:min(int(n)-4, len(rest))]}
}

// next goes to the next element and says whether there is one.
func (w *walker) next() bool {
	w.key, w.data = nil, nil
	t, rest, ok := bsoncore.ReadType(w.rest)
	if !ok {
		return false
	}
	if w.rest = nil; t == 0 {
		w.done = true
		return false
	}
	key, rest, ok := bsoncore.ReadKeyBytes(rest)
	if !ok {
		return false
	}
	w.key, w.typ = key, t
	if v, after, ok := bsoncore.ReadValue(rest, t); ok {
		w.data, w.rest = v.Data, after
	} else if t == bsoncore.TypeEmbeddedDocument || t == bsoncore.TypeArray {
		w.data = rest
	}
	return true
}

// text is the value, if it is a string.
func (w *walker) text() []byte {
	if w.typ != bsoncore.TypeString || len(w.data) < 5 {
		return nil
	}
	return w.data[4 : len(w.data)-1]
}

// number is the value, if it is one.
func (w *walker) number() (int64, bool) {
	v := bsoncore.Value{Type: w.typ, Data: w.data}
	if b, ok := v.BooleanOK(); ok {
		if b {
			return 1, true
		}
		return 0, true
	}
	return v.AsInt64OK()
}

// result is what a reply tells of its request.
type result struct {
	kind   uint8
	ok     bool // it succeeded
	failed bool
	whole  bool   // all of it was read
	code   int64  // of the first error
	name   []byte // of that code
}

// Flags of opReply.
const (
	cursorNotFound = 1 << 0
	queryFailure   = 1 << 1 // the document is {$err, code}
)

// old reads the flags and the first document of a reply of old.
func (r *result) old(flags uint32, doc []byte) {
	switch {
	case flags&cursorNotFound != 0:
		r.failed, r.code = true, 43
	case flags&queryFailure != 0:
		r.failed = true
		r.read(doc)
	case r.kind == query:
		r.ok = true
	default:
		r.read(doc)
	}
}

// read reads a reply as far as it is there.
func (r *result) read(doc []byte) {
	var code int64
	var name []byte
	w := walk(doc)
	for w.next() {
		switch string(w.key) {
		case "ok":
			if n, ok := w.number(); ok {
				r.ok, r.failed = n != 0, r.failed || n == 0
			}
		case "code":
			code, _ = w.number()
		case "codeName":
			name = w.text()
		case "cursor", "isWritablePrimary", "ismaster":
			// What fails has none of these, and ok comes behind all of it.
			r.ok = r.ok || r.kind != bulk
		case "nErrors":
			n, _ := w.number()
			r.failed = r.failed || n > 0
		case "writeErrors":
			r.writeErrors(w.data)
		case "writeConcernError":
			r.detail(w.data, true)
		}
	}
	r.whole = w.done
	if r.failed && r.code == 0 && len(r.name) == 0 && (w.done || len(name) > 0) {
		r.code, r.name = code, name // the name stands behind the code
	}
	if !w.done && (r.kind == write || r.kind == bulk) {
		r.ok = false // there may be errors behind it
	}
}

// writeErrors reads the first of an array of errors.
func (r *result) writeErrors(array []byte) {
	if w := walk(array); w.next() {
		r.detail(w.data, false)
	}
}

// detail reads code and codeName of an error, unless there was one before; named says
// that it has a codeName.
func (r *result) detail(doc []byte, named bool) {
	if r.failed {
		return
	}
	r.failed = true
	w := walk(doc)
	for w.next() {
		switch string(w.key) {
		case "code":
			r.code, _ = w.number()
		case "codeName":
			r.name = w.text()
		}
	}
	if named && !w.done && len(r.name) == 0 {
		r.code = 0
	}
}
