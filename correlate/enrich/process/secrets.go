package process

import "strings"

// secretNames make what follows them a secret, anywhere in a name.
var secretNames = []string{
	"password", "passwd", "passphrase", "passcode", "pwd", "secret", "token",
	"apikey", "api-key", "api_key", "api.key", "auth", "credential", "cookie", "jwt", "bearer",
	"privatekey", "private-key", "private_key", "private.key",
	"accesskey", "access-key", "access_key", "access.key", "accountkey",
	"encryptionkey", "encryption-key", "encryption_key",
}

// isSecret says whether the value of an option, variable or header of that name
// must not be shown.
func isSecret(name string, words []string) bool {
	name = strings.ToLower(name)
	for _, w := range words {
		i := strings.Index(name, w)
		if i < 0 {
			continue
		}
		// "author" is no "auth", "authorization" is.
		if w == "auth" && strings.HasPrefix(name[i:], "author") && !strings.HasPrefix(name[i:], "authori") {
			continue
		}
		return true
	}
	for seg := range strings.FieldsFuncSeq(name, func(c rune) bool { return c == '-' || c == '_' || c == '.' }) {
		switch seg {
		case "pw", "psk", "cred", "creds", "passin", "passout":
			return true
		case "bypass", "compass":
		default:
			if strings.HasSuffix(seg, "pass") {
				return true
			}
		}
	}
	return false
}

// passFlags are short options that carry a password.
type passFlags struct {
	letters string
	// separate is true where the value may be the next argument; mysql's must be
	// attached.
	separate bool
}

// clients are programs with such options.
var clients = map[string]passFlags{
	"mysql": {"p", false}, "mysqldump": {"p", false}, "mysqladmin": {"p", false}, "mysqlimport": {"p", false},
	"mysqlshow": {"p", false}, "mysqlcheck": {"p", false}, "mysqlslap": {"p", false}, "mysqlsh": {"p", false},
	"mysqlbinlog": {"p", false}, "mysql_upgrade": {"p", false}, "mycli": {"p", false},
	"mariadb": {"p", false}, "mariadb-dump": {"p", false}, "mariadb-admin": {"p", false}, "mariadb-import": {"p", false},
	"mariadb-show": {"p", false}, "mariadb-check": {"p", false}, "mariadb-binlog": {"p", false},
	"mongo": {"p", true}, "mongosh": {"p", true}, "mongodump": {"p", true}, "mongorestore": {"p", true},
	"mongoexport": {"p", true}, "mongoimport": {"p", true}, "mongostat": {"p", true},
	"sshpass": {"p", true}, "cqlsh": {"p", true}, "rabbitmqadmin": {"p", true}, "7z": {"p", false}, "7za": {"p", false},
	"redis-cli": {"a", true}, "valkey-cli": {"a", true}, "influx": {"pt", true},
	"ldapsearch": {"w", true}, "ldapadd": {"w", true}, "ldapmodify": {"w", true}, "ldapdelete": {"w", true},
	"ldapwhoami": {"w", true}, "ldappasswd": {"wsa", true}, "ldapcompare": {"w", true},
	"mosquitto_pub": {"P", true}, "mosquitto_sub": {"P", true}, "mosquitto_rr": {"P", true},
	"ipmitool": {"P", true}, "sqlcmd": {"P", true}, "bcp": {"P", true}, "zip": {"P", true}, "unzip": {"P", true},
	"snmpwalk": {"cAX", true}, "snmpget": {"cAX", true}, "snmpbulkwalk": {"cAX", true}, "snmpset": {"cAX", true},
	"openssl": {"kK", true},
}

// loginTools have a login subcommand with -p.
var loginTools = map[string]bool{
	"docker": true, "podman": true, "nerdctl": true, "buildah": true, "skopeo": true, "helm": true,
	"oras": true, "crane": true, "az": true, "oc": true,
}

// userFlags take user:password (curl) or user%password (smbclient).
func isUserFlag(f string) bool {
	switch f {
	case "-u", "-U", "--user", "--proxy-user", "--userpwd":
		return true
	}
	return false
}

// credentialPrefixes begin tokens that are recognised wherever they stand.
var credentialPrefixes = []string{
	"ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "glpat-", "xoxb-", "xoxp-", "xoxa-", "xoxr-", "xoxs-",
	"sk_live_", "rk_live_", "sk-", "hvs.", "dckr_pat_", "npm_", "pypi-", "AIza",
}

// isCredential recognises JSON web tokens, AWS key ids and the tokens of a few
// services by their looks.
func isCredential(run string) bool {
	if strings.HasPrefix(run, "eyJ") && len(run) >= 16 {
		return true
	}
	if len(run) == 20 && (strings.HasPrefix(run, "AKIA") || strings.HasPrefix(run, "ASIA")) {
		return true
	}
	if len(run) >= 20 {
		for _, p := range credentialPrefixes {
			if strings.HasPrefix(run, p) {
				return true
			}
		}
	}
	return false
}

// isAWSSecret recognises 40 octets of base64 that are no hexadecimal hash.
func isAWSSecret(run string) bool {
	if len(run) != 40 {
		return false
	}
	var upper, lower, digit bool
	for i := range len(run) {
		switch c := run[i]; {
		case c >= 'A' && c <= 'Z':
			upper = true
		case c >= 'a' && c <= 'z':
			lower = true
		case c >= '0' && c <= '9':
			digit = true
		}
	}
	return upper && lower && digit
}
