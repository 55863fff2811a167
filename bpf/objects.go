package bpf

import (
	"crypto/sha256"
	"encoding/hex"
)

// Object is one compiled BPF object inside the program.
type Object struct {
	Name   string
	SHA256 string // of the object file, hex
}

// Objects lists the objects, so that a running version can be told from another.
func Objects() []Object {
	var out []Object
	for _, o := range []struct {
		name  string
		bytes []byte
	}{{"drop", _DropBytes}, {"flow", _FlowBytes}, {"l7", _L7Bytes}, {"process", _ProcessBytes}, {"socket", _SocketBytes}, {"tls", _TlsBytes}} {
		sum := sha256.Sum256(o.bytes)
		out = append(out, Object{o.name, hex.EncodeToString(sum[:])})
	}
	return out
}
