package mysql

import (
	"bytes"

	"github.com/weir-probe/weir/flows/l7"
	"github.com/weir-probe/weir/flows/l7/sqlname"
)

// Match says Yes to a greeting, to a client's answer to it, and to a whole command
// with a statement that has a name.
func Match(d l7.Dir, b []byte) l7.Verdict {
	if len(b) < header+1 {
		return l7.Maybe
	}
	size := int(b[0]) | int(b[1])<<8 | int(b[2])<<16
	seq, body := b[3], b[header:]
	if size == 0 || seq > 16 {
		return l7.No
	}
	if d == l7.ToClient {
		switch {
		case seq == 0 && body[0] == 10:
			return greeting(body)
		case seq == 0 && body[0] == 0xff && size < 1024: // refused before the greeting
			return l7.Maybe
		case seq >= 1 && size < 1<<16:
			return l7.Maybe
		}
		return l7.No
	}
	if seq == 1 && size >= 32 && size <= 4096 {
		if len(body) < 32 {
			return l7.Maybe
		}
		if handshake(body) {
			return l7.Yes
		}
		return l7.No
	}
	if seq != 0 || body[0] == 0 || body[0] > 0x1f {
		return l7.No
	}
	if body[0] == 0x03 || body[0] == 0x16 {
		if len(body) < 8 {
			return l7.Maybe
		}
		if sql := body[1:min(len(body), size)]; string(sqlname.Append(nil, sql)) != "other" {
			return l7.Yes
		}
		return l7.Maybe
	}
	if size != len(body) {
		return l7.No
	}
	return l7.Maybe
}

// greeting says whether b is a server's: protocol 10, and a version of digits.
func greeting(b []byte) l7.Verdict {
	i := bytes.IndexByte(b, 0)
	if i < 0 {
		return l7.Maybe
	}
	if i < 4 || i > 100 || b[1] < '0' || b[1] > '9' || bytes.IndexByte(b[:i], '.') < 0 {
		return l7.No
	}
	return l7.Yes
}
