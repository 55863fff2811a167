package postgres

import (
	"bytes"
	"encoding/binary"

	"github.com/weir-probe/weir/flows/l7"
)

// begins says whether b is the beginning of a connection's first message.
func begins(b []byte) bool {
	if len(b) < 8 {
		return false
	}
	n, code := binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[4:])
	switch code {
	case sslCode, gssCode:
		return n == 8
	case cancel:
		return n >= 16 && n <= 268
	}
	return code>>16 == 3 && code&0xffff <= 16 && n >= 8 && n <= 10000
}

// clientTypes and serverTypes are the messages each side sends.
const (
	clientTypes = "QPBEDCSHXFpdcf"
	serverTypes = "RSKZTDCEN123ntsGHWdcIVAv"
)

// Match says Yes to a start, and to messages whose lengths lead from one to the
// next; of a single message in the middle of a connection only to those whose
// content shows what they are.
func Match(d l7.Dir, b []byte) l7.Verdict {
	if d == l7.ToServer && begins(b) {
		return l7.Yes
	}
	if len(b) < 5 {
		return l7.Maybe
	}
	types := serverTypes
	if d == l7.ToServer {
		types = clientTypes
	}
	whole := 0
	for at := b; len(at) >= 5; {
		n := int64(binary.BigEndian.Uint32(at[1:])) + 1
		if bytes.IndexByte([]byte(types), at[0]) < 0 || n < 5 || n > maxSize {
			return l7.No
		}
		if n > int64(len(at)) {
			if whole > 0 || n > 1<<24 {
				break
			}
			return l7.Maybe
		}
		if sure(d, at[0], at[5:n]) {
			return l7.Yes
		}
		whole++
		at = at[n:]
	}
	if whole >= 3 {
		return l7.Yes
	}
	return l7.Maybe
}

// sure says whether a whole message can be nothing else.
func sure(d l7.Dir, kind byte, body []byte) bool {
	switch {
	case d == l7.ToServer && kind == 'Q':
		return len(body) > 4 && bytes.IndexByte(body, 0) == len(body)-1
	case d == l7.ToServer && kind == 'S', d == l7.ToServer && kind == 'X':
		return false
	case d == l7.ToClient && kind == 'Z':
		return len(body) == 1 && bytes.IndexByte([]byte("ITE"), body[0]) >= 0
	case d == l7.ToClient && kind == 'R':
		return len(body) >= 4 && binary.BigEndian.Uint32(body) <= 12
	case d == l7.ToClient && kind == 'E':
		return len(body) > 8 && body[0] == 'S'
	}
	return false
}
