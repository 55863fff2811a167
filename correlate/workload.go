package correlate

import "strings"

// DisplayName is the tag `client` or `server`: it is never empty, so that a query
// that groups by it loses no row.
func (e *Endpoint) DisplayName() string {
	if e.Name != "" {
		return e.Name
	}
	return e.Kind.String()
}

// WorkloadName is what a container is one instance of: its pod's workload, its
// Compose service; else, for a name that Docker made up (happy_turing), its image; else its name
// without the random or counting suffix that whoever started it has added. Of an end
// outside containers it is the display name.
func WorkloadName(e *Endpoint) string {
	c := e.Contain
	if c == nil {
		return e.DisplayName()
	}
	if c.Pod.UID != "" || c.Project != "" && c.Service != "" {
		return e.DisplayName()
	}
	name := e.DisplayName()
	if generated(name) && c.Image != "" {
		return imageName(c.Image)
	}
	return stemOf(name)
}

// stemOf cuts trailing parts that hold a digit and look like an id or a
// counter: "job-7", "api-5d4f9c-x2x9q", "ci_runner.3".
func stemOf(name string) string {
	for {
		i := strings.LastIndexAny(name, "-_.")
		if i <= 0 || !instancePart(name[i+1:]) {
			return name
		}
		name = name[:i]
	}
}

// instancePart says whether a part is all hex digits or a mix of letters and
// digits: "v2" is a version somebody chose, and stays.
func instancePart(s string) bool {
	digits, hex := 0, true
	for i := range len(s) {
		c := s[i]
		switch {
		case c >= '0' && c <= '9':
			digits++
		case c >= 'a' && c <= 'f':
		case c >= 'g' && c <= 'z':
			hex = false
		default:
			return false
		}
	}
	return digits == len(s) && digits > 0 || digits > 0 && len(s) >= 5 || hex && len(s) >= 8
}

// generated says whether a name has the form adjective_surname Docker gives.
func generated(name string) bool {
	left, right, ok := strings.Cut(name, "_")
	return ok && left != "" && right != "" && lowercase(left) && lowercase(strings.TrimRight(right, "0123456789"))
}

func lowercase(s string) bool {
	for i := range len(s) {
		if s[i] < 'a' || s[i] > 'z' {
			return false
		}
	}
	return true
}

// imageName is the last part of an image reference without tag and digest.
func imageName(ref string) string {
	ref, _, _ = strings.Cut(ref, "@")
	ref = ref[strings.LastIndexByte(ref, '/')+1:]
	name, _, _ := strings.Cut(ref, ":")
	return name
}
