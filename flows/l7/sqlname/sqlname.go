// Package sqlname gives SQL statements names of which a service has few: the kind
// of statement and what it is about (OpenTelemetry's query summary), and never a
// literal or a parameter.
package sqlname

// Bounds of what is read of a statement and of a name in it.
const (
	maxTokens = 400
	maxTarget = 48
)

// Append appends the name of a statement, of which only the beginning need be
// there: "SELECT users", "INSERT orders", "CREATE TABLE t", "BEGIN". What begins
// with no known word is "other".
func Append(dst, sql []byte) []byte {
	s := scanner{b: sql}
	w := s.next()
	for w.kind == symbol && w.text[0] == '(' {
		w = s.next()
	}
	s.depth = 0
	verb := keyword(w)
	if verb == "WITH" {
		verb = s.afterCTEs()
	}
	switch verb {
	case "":
		return append(dst, "other"...)
	case "SELECT":
		return s.target(append(dst, verb...), s.find("FROM"))
	case "INSERT", "REPLACE", "MERGE":
		return s.target(append(dst, verb...), s.find("INTO"))
	case "DELETE":
		return s.target(append(dst, verb...), s.find("FROM"))
	case "UPDATE", "COPY", "CALL":
		return s.target(append(dst, verb...), true)
	case "TRUNCATE":
		return s.target(append(dst, verb...), true)
	case "CREATE", "DROP", "ALTER":
		dst = append(dst, verb...)
		for range 8 {
			w = s.next()
			if object := objects[upper(w)]; object != "" {
				return s.target(append(append(dst, ' '), object...), true)
			}
		}
		return dst
	}
	return append(dst, verb...)
}

// afterCTEs is the statement that WITH leads to: the first verb outside brackets.
func (s *scanner) afterCTEs() string {
	for range maxTokens {
		w := s.next()
		if w.kind == end {
			break
		}
		if s.depth == 0 {
			switch v := keyword(w); v {
			case "SELECT", "INSERT", "UPDATE", "DELETE", "MERGE":
				return v
			}
		}
	}
	return "SELECT"
}

// find reads up to a word outside brackets, and says whether there is one.
func (s *scanner) find(word string) bool {
	at := s.depth
	for range maxTokens {
		w := s.next()
		if w.kind == end {
			return false
		}
		if s.depth <= at && upper(w) == word {
			return true
		}
	}
	return false
}

// fillers stand between a verb and its target.
var fillers = map[string]bool{
	"TABLE": true, "ONLY": true, "IF": true, "NOT": true, "EXISTS": true, "LOW_PRIORITY": true, "IGNORE": true, "CONCURRENTLY": true, "FROM": true, "INTO": true, "LATERAL": true,
}

// target appends the name that comes next, if there is one: of a sub-select its own.
func (s *scanner) target(dst []byte, there bool) []byte {
	for range maxTokens {
		if !there {
			return dst
		}
		w := s.next()
		switch {
		case w.kind == end:
			return dst
		case w.kind == symbol && w.text[0] == '(':
			there = s.find("FROM")
		case w.kind == name && !fillers[upper(w)]:
			return appendName(append(dst, ' '), w.text)
		case w.kind == name:
		default:
			return dst
		}
	}
	return dst
}

// appendName appends an identifier. Digits in a row are a #: partitions and copies
// are one table.
func appendName(dst, b []byte) []byte {
	n := 0
	for i, c := range b {
		switch {
		case c == '"' || c == '`' || c == '[' || c == ']':
			continue
		case '0' <= c && c <= '9' && (i+1 < len(b) && digit(b[i+1]) || i > 0 && digit(b[i-1])):
			if len(dst) > 0 && dst[len(dst)-1] == '#' {
				continue
			}
			c = '#'
		case c < 0x21 || c >= 0x7f:
			c = '_'
		}
		if n++; n > maxTarget {
			break
		}
		dst = append(dst, c)
	}
	return dst
}

func digit(c byte) bool { return '0' <= c && c <= '9' }

// verbs are the statements that are told by name; objects what they make.
var (
	verbs = words("SELECT", "INSERT", "UPDATE", "DELETE", "REPLACE", "MERGE", "WITH", "CREATE", "ALTER", "DROP", "TRUNCATE", "BEGIN", "START", "COMMIT",
		"END", "ROLLBACK", "ABORT", "SAVEPOINT", "RELEASE", "SET", "RESET", "SHOW", "EXPLAIN", "COPY", "VACUUM", "ANALYZE", "CALL", "DO", "PREPARE", "EXECUTE",
		"DEALLOCATE", "LOCK", "UNLOCK", "GRANT", "REVOKE", "USE", "DESCRIBE", "DESC", "FETCH", "MOVE", "CLOSE", "DECLARE", "LISTEN", "NOTIFY", "UNLISTEN",
		"VALUES", "TABLE", "REFRESH", "LOAD", "OPTIMIZE", "CHECK", "REPAIR", "KILL", "DISCARD", "CHECKPOINT", "CLUSTER", "REINDEX", "COMMENT", "HANDLER", "XA",
		"FLUSH", "PURGE", "HELP", "RENAME", "PRAGMA")
	objects = words("TABLE", "INDEX", "VIEW", "DATABASE", "SCHEMA", "FUNCTION", "PROCEDURE", "TRIGGER", "SEQUENCE", "TYPE", "ROLE", "USER", "EXTENSION", "DOMAIN", "POLICY",
		"PUBLICATION", "SUBSCRIPTION", "EVENT", "SERVER", "TABLESPACE", "AGGREGATE", "OPERATOR", "RULE", "SYSTEM", "GROUP", "COLLATION", "CAST", "LANGUAGE")
)

func words(all ...string) map[string]string {
	m := map[string]string{}
	for _, w := range all {
		m[w] = w
	}
	return m
}

func keyword(w token) string {
	if w.kind != name {
		return ""
	}
	return verbs[upper(w)]
}
