package enrich

import "strings"

// serviceName is the name of the service that a systemd unit stands for; ok is
// false where the unit's name says nothing lasting, and the executable does.
//
// A name becomes a tag, so it must survive a restart and not be made per run,
// connection or login: scopes (sessions, cron and at jobs, systemd-run --scope),
// units of a user's own manager (anybody may call one nginx.service), transient
// services and what else has a random name do not count. An instance of a
// template does (postgresql@15-main), unless systemd made it for one connection
// (Accept=yes) or it is a random one: then it is the template's name.
func serviceName(unit string) (name string, ok bool) {
	name, ok = strings.CutSuffix(unit, ".service")
	if !ok || strings.HasPrefix(name, "user@") {
		return "", false
	}
	if template, instance, ok := strings.Cut(name, "@"); ok && (perConnection(instance) || random(instance)) {
		name = template
	}
	return name, name != "" && name[0] != '@' && !transient(name)
}

// transient says whether a unit's name was made up when it was started: by
// systemd-run (run-u12, run-r<32 hex>, run-p77-i78), by dbus-broker for one of its
// clients, or by whoever takes random names.
func transient(name string) bool {
	if rest, ok := strings.CutPrefix(name, "run-"); ok && len(rest) > 1 &&
		(rest[0] == 'u' || rest[0] == 'p') && isNumber(rest[1:2]) {
		return true
	}
	return strings.HasPrefix(name, "dbus-:") || random(name)
}

// randomRun is how many hex digits in a row, or divided as in a UUID, no person
// gives to a service: ids of containers (podman's health checks), of jobs, UUIDs.
const randomRun = 16

// random says whether a name holds a long hexadecimal number.
func random(name string) bool {
	run, digits := 0, 0
	for i := 0; i < len(name); i++ {
		switch c := name[i]; {
		case isHex(c):
			run++
			if c <= '9' {
				digits++
			}
		case c == '-' && run > 0:
			continue // of a UUID; a word between ends the run anyway
		default:
			run, digits = 0, 0
		}
		if run >= randomRun && digits > run/8 {
			return true
		}
	}
	return false
}

// perConnection says whether an instance is one that systemd makes for a
// connection of a socket unit: number-address:port-address:port, or
// number-pid-uid, in newer versions with the socket's cookie after the number.
func perConnection(instance string) bool {
	number, rest, ok := strings.Cut(instance, "-")
	if !ok || !isNumber(number) {
		return false
	}
	if strings.Contains(rest, ":") || rest == "unknown" {
		return true
	}
	groups := 0
	for rest != "" {
		number, rest, _ = strings.Cut(rest, "-")
		if !isNumber(number) && number != "unknown" {
			return false
		}
		groups++
	}
	return groups >= 2
}

func isNumber(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}

func isHex(c byte) bool { return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' }
