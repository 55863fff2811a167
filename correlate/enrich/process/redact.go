package process

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Redacted stands where a secret was.
const Redacted = "[redacted]"

// CmdlineMode is how much of command lines is shown.
type CmdlineMode string

// The modes.
const (
	CmdlineRedact CmdlineMode = "redact" // secrets replaced; the default
	CmdlineFull   CmdlineMode = "full"   // as they are
	CmdlineOff    CmdlineMode = "off"    // none at all
)

// RedactorConfig is the policy for command lines. The zero value means the defaults.
type RedactorConfig struct {
	Mode CmdlineMode `yaml:"mode"`
	// MaxLength cuts the result, octets (default 1024).
	MaxLength int `yaml:"max_length"`
	// Names are more words whose presence in an option's or variable's name makes
	// its value a secret; case does not matter.
	Names []string `yaml:"names"`
}

// Validate checks the mode and ranges.
func (c RedactorConfig) Validate() error {
	switch c.Mode {
	case "", CmdlineRedact, CmdlineFull, CmdlineOff:
	default:
		return fmt.Errorf("command lines: unknown mode %q: use redact, full or off", c.Mode)
	}
	if c.MaxLength < 0 {
		return fmt.Errorf("command lines: max_length must not be negative")
	}
	return nil
}

// Args is a command line as the kernel keeps it.
type Args struct {
	Raw []byte // NUL-separated
	// Truncated is true when more followed: the last word may be half a secret
	// that can no longer be told from anything else, and is dropped.
	Truncated bool
}

// maxArgs is how much of a command line is read, octets: finding the ends of
// words in quotes takes quadratic time on text made for it.
const maxArgs = 4096

// Redactor turns command lines into what may be shown. It is immutable and safe
// for concurrent use. It prefers to hide too much.
type Redactor struct {
	cfg   RedactorConfig
	names []string // lower case
}

// NewRedactor returns a redactor for a valid policy.
func NewRedactor(cfg RedactorConfig) *Redactor {
	if cfg.Mode == "" {
		cfg.Mode = CmdlineRedact
	}
	if cfg.MaxLength == 0 {
		cfg.MaxLength = 1024
	}
	r := &Redactor{cfg: cfg, names: secretNames}
	for _, n := range cfg.Names {
		if n != "" {
			r.names = append(r.names[:len(r.names):len(r.names)], strings.ToLower(n))
		}
	}
	return r
}

// Cmdline returns the arguments joined by spaces, as the policy wants them, with
// control characters made visible as '?'.
func (r *Redactor) Cmdline(args Args) string {
	if r.cfg.Mode == CmdlineOff {
		return ""
	}
	if len(args.Raw) > maxArgs {
		args = Args{args.Raw[:maxArgs], true}
	}
	raw := strings.TrimRight(string(args.Raw), "\x00")
	if args.Truncated {
		raw = raw[:strings.LastIndexAny(raw, "\x00 \t\n=:'\"")+1] + "…"
	}
	s := scanner{names: r.names}
	for i, arg := range strings.Split(raw, "\x00") {
		if i > 0 {
			s.out.WriteByte(' ')
		}
		if r.cfg.Mode == CmdlineFull {
			s.out.WriteString(arg)
		} else {
			s.element(arg)
		}
		if s.out.Len() > r.cfg.MaxLength {
			break
		}
	}
	return clip(clean(s.out.String()), r.cfg.MaxLength)
}

// clean replaces what could drive a terminal or break a line.
func clean(s string) string {
	return strings.Map(func(c rune) rune {
		switch {
		case c < 0x20, c >= 0x7f && c < 0xa0, c == utf8.RuneError,
			c == 0x2028, c == 0x2029, // line and paragraph separator
			c >= 0x200e && c <= 0x200f, c >= 0x202a && c <= 0x202e, c >= 0x2066 && c <= 0x2069: // bidi
			return '?'
		}
		return c
	}, s)
}

// clip cuts s to at most n octets at a character's border.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	const more = "…"
	n = max(n-len(more), 0)
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + more
}
