package services

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/weir-probe/weir/test/machine"
)

// service is one server with its client.
type service struct {
	name    string
	server  string // shell command
	user    string
	port    int
	binary  string // that has to be installed
	process string // of the server, that its client stops for a moment
	ignore  func(kind) bool
	install string // Debian packages
	// peer says that server and client are the Go program beside this file.
	peer bool
	// wire is what a request is on the wire where that is not what the client is told.
	wire func(kind) kind
}

var services = []service{
	{name: "postgresql", port: 5432, user: "postgres", binary: "/usr/lib/postgresql/15/bin/postgres", install: "postgresql python3-psycopg2",
		server: `cd /tmp && /usr/lib/postgresql/15/bin/initdb -A trust -D /tmp/data >/dev/null && echo "host all all 0.0.0.0/0 trust" >> /tmp/data/pg_hba.conf &&
			exec /usr/lib/postgresql/15/bin/postgres -D /tmp/data -k /tmp -c listen_addresses='*' -c fsync=off`,
		ignore: func(k kind) bool { return k.operation == "connect" || strings.HasPrefix(k.operation, "SET") }},
	{name: "mysql", port: 3306, user: "mysql", binary: "/usr/sbin/mariadbd", install: "mariadb-server python3-pymysql",
		server: `mariadb-install-db --no-defaults --auth-root-authentication-method=normal --datadir=/tmp/data --skip-name-resolve >/dev/null 2>&1;
			printf "CREATE DATABASE IF NOT EXISTS test;\nCREATE USER IF NOT EXISTS root@'%%';\nGRANT ALL ON *.* TO root@'%%';\n" > /tmp/init.sql;
			exec mariadbd --no-defaults --datadir=/tmp/data --socket=/tmp/s --pid-file=/tmp/p --bind-address=0.0.0.0 --skip-name-resolve --init-file=/tmp/init.sql`,
		ignore: func(k kind) bool {
			return k.operation == "connect" || strings.HasPrefix(k.operation, "SET") || k.operation == "QUIT" || k.operation == "quit"
		}},
	{name: "redis", port: 6379, binary: "/usr/bin/redis-server", install: "redis-server python3-redis",
		server: `exec redis-server --save "" --protected-mode no --enable-debug-command yes`},
	{name: "memcached", port: 11211, binary: "/usr/bin/memcached", install: "memcached", server: `memcached -u nobody & wait`, process: "memcached"},
	{name: "nats", port: 4222, binary: "/usr/sbin/nats-server", install: "nats-server", server: `exec nats-server -a 0.0.0.0`,
		ignore: func(k kind) bool {
			return k.operation == "PUB _INBOX" || !strings.HasPrefix(k.operation, "PUB ") && k.operation != "-ERR"
		}},
	{name: "amqp", port: 5672, binary: "/usr/lib/rabbitmq/bin/rabbitmq-server", install: "rabbitmq-server python3-pika",
		server: `export HOME=/tmp RABBITMQ_NODENAME=rabbit@localhost RABBITMQ_BASE=/tmp RABBITMQ_MNESIA_BASE=/tmp/mnesia RABBITMQ_LOG_BASE=/tmp/log
			printf '[{rabbit,[{loopback_users,[]}]}].' > /tmp/advanced.config; export RABBITMQ_ADVANCED_CONFIG_FILE=/tmp/advanced.config RABBITMQ_ENABLED_PLUGINS_FILE=/tmp/plugins
			/usr/lib/rabbitmq/bin/rabbitmq-server & wait`, process: "beam.smp",
		ignore: func(k kind) bool {
			return !strings.HasPrefix(k.operation, "basic.") && !strings.HasPrefix(k.operation, "queue.")
		}},
	{name: "dns", port: 53, binary: "/usr/sbin/unbound", install: "unbound python3-dnspython",
		server: `printf 'server:\n interface: 0.0.0.0\n access-control: 0.0.0.0/0 allow\n do-daemonize: no\n username: ""\n chroot: ""\n pidfile: ""\n use-syslog: no\n local-zone: "shop.test." static\n local-data: "db.shop.test. 60 IN A 192.0.2.7"\n local-zone: "refused.example." refuse\n' > /tmp/u.conf && unbound -c /tmp/u.conf & wait`, process: "unbound"},
	{name: "grpc", port: 50051, peer: true,
		// A call of which the client's patience ended is reset by client or server,
		// whoever is first.
		wire: func(k kind) kind {
			if k.status == "" && strings.HasSuffix(k.operation, "/UnaryCall") {
				k.status = "CANCELLED"
			}
			return k
		}},
	{name: "kafka", port: 9092, peer: true,
		ignore: func(k kind) bool {
			return k.status == "ok" && (k.operation == "ApiVersions" || k.operation == "Metadata" || k.operation == "InitProducerId")
		}},
}

// TestServices asks every server by a client that logs what it did.
func TestServices(t *testing.T) {
	b := newBed(t)
	t.Run("http", b.http)
	for _, s := range services {
		t.Run(s.name, func(t *testing.T) {
			b := b.with(t)
			if _, err := os.Stat(s.binary); err != nil && !s.peer {
				absent(t, s.binary+" is not installed (Debian: "+s.install+")")
			}
			command := s.server
			if s.user != "" {
				command = fmt.Sprintf("chmod 1777 /tmp && exec setpriv --reuid=%s --regid=%s --clear-groups sh -c '%s'", s.user, s.user, strings.ReplaceAll(s.server, "'", `'\''`))
			}
			if s.peer {
				command = fmt.Sprintf("exec /peer %s-server :%d", s.name, s.port)
			}
			_, ip := b.container(s.name, nil, command)
			ask := fmt.Sprintf("exec /usr/bin/python3 /files/client.py %s %s %d", s.name, ip, s.port)
			if s.peer {
				ask = fmt.Sprintf("exec /peer %s %s:%d", s.name, ip, s.port)
			}
			var sees []string
			if s.process != "" {
				ask, sees = ask+" "+s.process, []string{"--pid", "container:shop_" + s.name + "_1"}
			}
			log := b.client(s.name+"client", sees, ask)
			b.settle()
			compare(t, ofClient(log), ofWeir(b.read("l7", s.name+"client", s.name), s.wire), s.ignore)
		})
	}
	b.noSecrets()
}

func (b *bed) with(t *testing.T) *bed {
	c := *b
	c.t = t
	return &c
}

// absent fails where the services are required, else it skips.
func absent(t *testing.T, why string) {
	t.Helper()
	machine.Missing(t, "services", why)
}

// http has a proxy between client and application: two edges, each with all requests.
func (b *bed) http(t *testing.T) {
	b = b.with(t)
	if _, err := exec.LookPath("nginx"); err != nil {
		absent(t, "nginx is not installed")
	}
	_, app := b.container("app", nil, "exec /usr/bin/python3 /files/app.py 8000")
	_, front := b.container("front", nil, fmt.Sprintf(`mkdir -p /var/log/nginx /var/lib/nginx && printf 'daemon off; error_log stderr; pid /tmp/pid; events {} http { access_log off; upstream a { server %s:8000; keepalive 4; } server { listen 80; location / { proxy_pass http://a; proxy_http_version 1.1; proxy_set_header Connection ""; } } }' > /tmp/n.conf && exec nginx -c /tmp/n.conf`, app))
	log := b.client("web", nil, "exec /usr/bin/python3 /files/client.py http "+front+" 80")
	b.settle()
	want := ofClient(log)
	compare(t, want, ofWeir(b.read("l7", "web", "front"), nil), nil)
	compare(t, want, ofWeir(b.read("l7", "front", "app"), nil), nil)
}

// noSecrets looks for what the clients sent and nobody may read in a row or a log.
func (b *bed) noSecrets() {
	rows, err := os.ReadFile(b.rows)
	if err != nil {
		b.t.Fatal(err)
	}
	for what, all := range map[string]string{"a row": string(rows), "the log": b.weir.Log()} {
		for _, secret := range []string{"s3cret", "secret", "user:1"} {
			if i := strings.Index(all, secret); i >= 0 {
				line, _, _ := strings.Cut(all[strings.LastIndexByte(all[:i], '\n')+1:], "\n")
				b.t.Errorf("%q is in %s: %s", secret, what, line)
			}
		}
	}
}
