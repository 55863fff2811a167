package influxdb

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"strings"
	"time"
)

// Secret is a token or password: whatever prints it prints that there is one.
type Secret string

func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return "[redacted]"
}

func (s Secret) GoString() string             { return s.String() }
func (s Secret) LogValue() slog.Value         { return slog.StringValue(s.String()) }
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Config of a Sink. A zero field means its default. For InfluxDB 2 and 3 set
// URL, Org, Bucket and a token; for 1.x URL, Database, and Username with
// Password where it asks for them.
type Config struct {
	Name string // of the sink, the key of its place in the journal; default "influxdb"
	URL  string // http://host:8086, a path before /api is kept; default http://127.0.0.1:8086

	Org       string
	Bucket    string // default "weir"
	LogBucket string // of flow_log; default Bucket + "_log", of DATABASE/POLICY DATABASE_log
	Token     Secret
	TokenFile string // read again when the server refuses what was in it; before Token

	Username           string
	Password           Secret
	Database           string // set: InfluxDB 1.x, instead of Bucket
	RetentionPolicy    string // default the database's default
	LogDatabase        string // default Database + "_log"
	LogRetentionPolicy string

	NoGzip             bool
	Timeout            time.Duration // of one request; default 30 s
	CAFile             string        // PEM, instead of the system's authorities
	InsecureSkipVerify bool          // take any certificate
	Logger             *slog.Logger  // nil = discard
}

// DefaultConfig is InfluxDB on this host, buckets weir and weir_log.
func DefaultConfig() Config {
	return Config{Name: "influxdb", URL: "http://127.0.0.1:8086", Bucket: "weir", Timeout: 30 * time.Second}
}

// Validate says what is wrong with c, and what to do about it.
func (c Config) Validate() error {
	if _, err := c.withDefaults(); err != nil {
		return err
	}
	switch {
	case c.Timeout < 0:
		return errors.New("influxdb: the timeout must not be negative (0 means the default)")
	case c.CAFile != "" && c.InsecureSkipVerify:
		return errors.New("influxdb: a CA file has no effect when every certificate is taken: leave one of the two out")
	case c.Password != "" && c.Username == "":
		return errors.New("influxdb: there is a password but no user name")
	case c.Username != "" && (c.Token != "" || c.TokenFile != ""):
		return errors.New("influxdb: there is a token and a user name: InfluxDB 2 takes the token, 1.x the user name")
	case strings.Contains(c.Username, ":"):
		return errors.New("influxdb: a user name cannot contain ':' on this write endpoint")
	case c.Database == "" && (c.RetentionPolicy != "" || c.LogDatabase != "" || c.LogRetentionPolicy != ""):
		return errors.New("influxdb: a retention policy or log database is set, but no database")
	}
	return nil
}

// withDefaults also takes a user and password out of the URL, so that nothing
// that prints the URL prints them.
func (c Config) withDefaults() (Config, error) {
	d := DefaultConfig()
	c.Name = orDefault(c.Name, d.Name)
	c.URL = orDefault(c.URL, d.URL)
	c.Bucket = orDefault(c.Bucket, d.Bucket)
	db, _, _ := strings.Cut(c.Bucket, "/") // DATABASE/POLICY on 1.x: the log has a database of its own
	c.LogBucket = orDefault(c.LogBucket, db+"_log")
	if c.Database != "" {
		c.LogDatabase = orDefault(c.LogDatabase, c.Database+"_log")
	}
	if c.Timeout == 0 {
		c.Timeout = d.Timeout
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	u, err := url.Parse(c.URL)
	if err != nil { // its text repeats the URL, password and all
		return c, errors.New("influxdb: the URL cannot be understood; write it like http://influxdb.example:8086")
	}
	if (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return c, fmt.Errorf("influxdb: URL %q: write it like http://influxdb.example:8086", u.Redacted())
	}
	if u.User != nil && c.Username == "" && c.Token == "" && c.TokenFile == "" {
		c.Username = u.User.Username()
		pw, _ := u.User.Password()
		c.Password = Secret(pw)
	}
	u.User, u.RawQuery, u.Fragment = nil, "", ""
	u.Path = strings.TrimSuffix(strings.TrimRight(u.Path, "/"), "/api/v2/write")
	c.URL = u.String()
	return c, nil
}

func orDefault(s, d string) string {
	if s == "" {
		return d
	}
	return s
}

// v1 says that rows go to databases and not to buckets.
func (c Config) v1() bool { return c.Database != "" }

// String is c without its secrets.
func (c Config) String() string {
	c, err := c.withDefaults()
	if err != nil {
		return "influxdb: " + err.Error()
	}
	if c.v1() {
		return fmt.Sprintf("%s databases %s, %s", c.URL, join(c.Database, c.RetentionPolicy), join(c.LogDatabase, c.LogRetentionPolicy))
	}
	return fmt.Sprintf("%s org %s buckets %s, %s", c.URL, c.Org, c.Bucket, c.LogBucket)
}

func join(db, rp string) string {
	if rp == "" {
		return db
	}
	return db + "/" + rp
}

// secret is what the Authorization header says after "Token ".
func (c Config) secret() (string, error) {
	token := string(c.Token)
	if c.Username != "" {
		token = c.Username + ":" + string(c.Password)
	}
	if c.TokenFile != "" {
		b, err := os.ReadFile(c.TokenFile)
		if err != nil {
			return "", fmt.Errorf("influxdb: read token: %w; --influxdb-token-file names the file", err)
		}
		if token = strings.TrimSpace(string(b)); token == "" {
			return "", fmt.Errorf("influxdb: token file %s is empty", c.TokenFile)
		}
	}
	if strings.ContainsFunc(token, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return "", errors.New("influxdb: the token contains a line break or control character: is the file the right one?")
	}
	return token, nil
}

func (c Config) tls() (*tls.Config, error) {
	t := &tls.Config{InsecureSkipVerify: c.InsecureSkipVerify}
	if c.CAFile == "" {
		return t, nil
	}
	pem, err := os.ReadFile(c.CAFile)
	if err != nil {
		return nil, fmt.Errorf("influxdb: read certificate authorities: %w", err)
	}
	t.RootCAs = x509.NewCertPool()
	if !t.RootCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("influxdb: %s holds no certificate in PEM form", c.CAFile)
	}
	return t, nil
}
