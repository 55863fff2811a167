package l7test_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/weir-probe/weir/flows/l7"
	"github.com/weir-probe/weir/flows/l7/amqp"
	"github.com/weir-probe/weir/flows/l7/kafka"
	"github.com/weir-probe/weir/flows/l7/l7test"
	"github.com/weir-probe/weir/flows/l7/memcached"
	"github.com/weir-probe/weir/flows/l7/mongodb"
	"github.com/weir-probe/weir/flows/l7/nats"
	"github.com/weir-probe/weir/flows/l7/redis"
)

var specs = []l7.Spec{amqp.Spec, kafka.Spec, memcached.Spec, mongodb.Spec, nats.Spec, redis.Spec}

// TestNobodyTakesAnothers checks that no turn of a capture of one protocol is
// recognised as another.
func TestNobodyTakesAnothers(t *testing.T) {
	paths, err := filepath.Glob("../*/testdata/*.pcap")
	if err != nil || len(paths) < 10 {
		t.Fatalf("%d captures: %v", len(paths), err)
	}
	for _, path := range paths {
		owner := filepath.Base(filepath.Dir(filepath.Dir(path)))
		for _, chunks := range l7test.Capture(t, path) {
			for _, chunk := range chunks {
				for _, spec := range specs {
					if chunk.Turn && spec.Protocol.String() != owner && spec.Match(chunk.Dir, chunk.Data) == l7.Yes {
						t.Errorf("%s: %v says Yes to %.80q", path, spec.Protocol, chunk.Data)
					}
				}
			}
		}
	}
}

// TestNobodyTakesOthers has the beginnings of what else is spoken over TCP.
func TestNobodyTakesOthers(t *testing.T) {
	for name, data := range map[string]string{
		"HTTP":                "GET /get/key HTTP/1.1\r\nHost: a\r\n\r\n",
		"HTTP set":            "SET / HTTP/1.1\r\n\r\n",
		"HTTP CONNECT":        "CONNECT a:443 HTTP/1.1\r\n\r\n",
		"HTTP response":       "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
		"HTTP/2":              "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x12\x04\x00\x00\x00\x00\x00",
		"HTTP/2 settings":     "\x00\x00\x12\x04\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x64\x00\x04\x00\x00\x40\x00\x00\x02\x00\x00\x00\x00",
		"TLS":                 "\x16\x03\x01\x00\xf4\x01\x00\x00\xf0\x03\x03" + strings.Repeat("\x5a", 40),
		"TLS application":     "\x17\x03\x03\x00\x20" + strings.Repeat("\xa5", 32),
		"PostgreSQL":          "\x00\x00\x00\x29\x00\x03\x00\x00user\x00postgres\x00database\x00postgres\x00\x00",
		"PostgreSQL SSL":      "\x00\x00\x00\x08\x04\xd2\x16\x2f",
		"PostgreSQL query":    "Q\x00\x00\x00\x0eSELECT 1;\x00",
		"PostgreSQL response": "R\x00\x00\x00\x08\x00\x00\x00\x00S\x00\x00\x00\x16application_name\x00\x00",
		"PostgreSQL error":    "E\x00\x00\x00\x20SERROR\x00VERROR\x00C42P01\x00Mno\x00\x00",
		"MySQL greeting":      "\x4a\x00\x00\x00\x0a8.0.36\x00\x0b\x00\x00\x00" + strings.Repeat("x", 8) + "\x00\xff\xff\xff\x02\x00",
		"MySQL query":         "\x09\x00\x00\x00\x03SELECT 1",
		"MySQL quit":          "\x01\x00\x00\x00\x01",
		"MySQL ok":            "\x07\x00\x00\x01\x00\x00\x00\x02\x00\x00\x00",
		"MySQL result":        "\x01\x00\x00\x01\x01\x17\x00\x00\x02\x03def\x00\x00\x00\x011\x00\x0c\x3f\x00\x01\x00\x00\x00\x08\x81\x00\x00\x00\x00",
		"MongoDB":             "\x80\x0a\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\xdd\x07\x00\x00\x00\x00\x00\x00\x00\x6b\x0a\x00\x00\x02find\x00",
		"MongoDB small":       "\x05\x01\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\xdd\x07\x00\x00\x00\x00\x00\x00\x00\x6b\x0a\x00\x00\x02find\x00",
		"DNS":                 "\x00\x1d\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x07example\x03com\x00\x00\x01\x00\x01",
		"DNS id 0":            "\x00\x1d\x00\x00\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x07example\x03com\x00\x00\x01\x00\x01",
		"DNS response":        "\x00\x2d\x12\x34\x81\x80\x00\x01\x00\x01\x00\x00\x00\x00\x07example\x03com\x00\x00\x01\x00\x01\xc0\x0c",
		"SSH":                 "SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n",
		"SMTP":                "220 mail.example.org ESMTP\r\n",
		"SMTP quit":           "QUIT\r\n",
		"POP3":                "+OK POP3 server ready <1@x>\r\n",
		"POP3 error":          "-ERR no such message\r\n",
		"IMAP":                "* OK [CAPABILITY IMAP4rev1] ready\r\n",
		"IMAP count":          "* 23 EXISTS\r\n",
		"FTP":                 "USER anonymous\r\n",
		"SMB":                 "\x00\x00\x00\x85\xffSMBr\x00\x00\x00\x00\x18\x53\xc8\x00\x00",
		"LDAP":                "\x30\x0c\x02\x01\x01\x60\x07\x02\x01\x03\x04\x00\x80\x00",
		"MQTT":                "\x10\x10\x00\x04MQTT\x04\x02\x00\x3c\x00\x04test",
		"Cassandra":           "\x04\x00\x00\x01\x01\x00\x00\x00\x16\x00\x01\x00\x0bCQL_VERSION\x00\x053.0.0",
		"Zookeeper":           "\x00\x00\x00\x2d\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x75\x30\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x10" + strings.Repeat("\x00", 17),
		"AMQP 1.0":            "AMQP\x00\x01\x00\x00",
		"zeros":               strings.Repeat("\x00", 64),
		"ones":                strings.Repeat("\xff", 64),
		"ping":                "PING\r\n",
		"get":                 "get a\r\n",
		"ok":                  "+OK\r\n",
	} {
		for _, spec := range specs {
			if spec.Protocol == l7.MongoDB && strings.HasPrefix(name, "MongoDB") {
				continue
			}
			for _, d := range []l7.Dir{l7.ToServer, l7.ToClient} {
				if spec.Match(d, []byte(data)) == l7.Yes {
					t.Errorf("%v says Yes to %s (%d)", spec.Protocol, name, d)
				}
			}
		}
	}
}

// TestMatchOfBeginnings checks that what is recognised whole is not ruled out by its
// beginning.
func TestMatchOfBeginnings(t *testing.T) {
	paths, err := filepath.Glob("../*/testdata/*.pcap")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		owner := filepath.Base(filepath.Dir(filepath.Dir(path)))
		for _, spec := range specs {
			if spec.Protocol.String() != owner {
				continue
			}
			for _, chunks := range l7test.Capture(t, path) {
				for _, chunk := range chunks {
					if !chunk.Turn || spec.Match(chunk.Dir, chunk.Data) != l7.Yes {
						continue
					}
					for n := range min(len(chunk.Data), 200) {
						if spec.Match(chunk.Dir, chunk.Data[:n]) == l7.No {
							t.Errorf("%s: %v says No to the first %d octets of %.80q", path, owner, n, chunk.Data)
						}
					}
				}
			}
		}
	}
}
