package process

import (
	"strings"
	"testing"
	"unicode/utf8"
)

// plant is the secret of every case: it must never be seen in a result.
const plant = "S3cr/etXq9"

func TestRedactHides(t *testing.T) {
	r := NewRedactor(RedactorConfig{})
	const jwt = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U"
	for _, c := range []struct{ in, want string }{ // arguments separated by |
		{"app|--password|" + plant, "app --password [redacted]"},
		{"app|--password=" + plant, "app --password=[redacted]"},
		{"app|--password=two words " + plant, "app --password=[redacted]"},
		{"app|--password|--token|" + plant, "app --password --token [redacted]"},
		{"app|--DB-Passwd|" + plant + "|-v", "app --DB-Passwd [redacted] -v"},
		{"app|-password|" + plant, "app -password [redacted]"},
		{"app|-p" + plant + "secret1", "app -p[redacted]"},
		{"app|--http-pass|" + plant, "app --http-pass [redacted]"},
		{"app|--api-key|" + plant, "app --api-key [redacted]"},
		{"app|--apiKey=" + plant, "app --apiKey=[redacted]"},
		{"app|--aws-secret-access-key=" + plant, "app --aws-secret-access-key=[redacted]"},
		{"app|--ssh-private-key=" + plant, "app --ssh-private-key=[redacted]"},
		{"env|PGPASSWORD=" + plant + "|psql|-h|db", "env PGPASSWORD=[redacted] psql -h db"},
		{"java|-Dspring.datasource.password=" + plant + "|-jar|a.jar", "java -Dspring.datasource.password=[redacted] -jar a.jar"},
		{"docker|run|-e|MYSQL_ROOT_PASSWORD=" + plant + "|-p|80:80|img", "docker run -e MYSQL_ROOT_PASSWORD=[redacted] -p 80:80 img"},
		{"docker|login|-u|me|-p|" + plant, "docker login -u me -p [redacted]"},
		{"kubectl|create|secret|generic|s|--from-literal=password=a;" + plant, "kubectl create secret generic s --from-literal=password=[redacted]"},
		{"helm|install|--set|auth.password=" + plant + ",b=c", "helm install --set auth.password=[redacted]"},
		{"mysql|-uroot|-p" + plant + "|db", "mysql -uroot -p[redacted] db"},
		{"/usr/bin/mysqldump|-p" + plant, "/usr/bin/mysqldump -p[redacted]"},
		{"sudo|-n|mysql|-p" + plant, "sudo -n mysql -p[redacted]"},
		{"redis-cli|-a|" + plant + "|ping", "redis-cli -a [redacted] ping"},
		{"sshpass|-p|" + plant + "|ssh|h", "sshpass -p [redacted] ssh h"},
		{"sshpass|-p" + plant + "|ssh|h", "sshpass -p[redacted] ssh h"},
		{"openssl|rsa|-passin|pass:" + plant, "openssl rsa -passin [redacted]"},
		{"curl|-u|bob:" + plant + "|http://h/", "curl -u bob:[redacted] http://h/"},
		{"curl|-ubob:" + plant + "|http://h/", "curl -ubob:[redacted] http://h/"},
		{"curl|--user=bob:" + plant, "curl --user=bob:[redacted]"},
		{"smbclient|-U|bob%" + plant, "smbclient -U bob%[redacted]"},
		{"curl|-H|Authorization: Bearer " + plant + "|http://h/", "curl -H Authorization:[redacted] http://h/"},
		{"curl|-H|authorization:Basic " + plant, "curl -H authorization:[redacted]"},
		{"curl|-HX-Api-Key: " + plant, "curl -HX-Api-Key:[redacted]"},
		{"curl|-H|Cookie: sid=" + plant, "curl -H Cookie:[redacted]"},
		{"curl|https://bob:" + plant + "@h.example/x", "curl https://bob:[redacted]@h.example/x"},
		{"git|clone|https://" + "abcdefghij" + plant[:4] + plant[5:] + "@h.example/x", "git clone https://[redacted]@h.example/x"},
		{"app|postgres://u:pa/" + plant + "@db:5432/x?sslmode=off", "app postgres://u:[redacted]@db:5432/x?sslmode=off"},
		{"app|u:" + plant + "@tcp(db:3306)/x", "app u:[redacted]@tcp(db:3306)/x"},
		{"app|http://h/?a=1&token=" + plant + "&b=2", "app http://h/?a=1&token=[redacted]&b=2"},
		{"app|host=db password=" + plant + " user=x", "app host=db password=[redacted] user=x"},
		{"app|host=db password='x " + plant + "' user=x", "app host=db password=[redacted] user=x"},
		{"app|AccountName=x;AccountKey=" + plant + ";Suffix=y", "app AccountName=x;AccountKey=[redacted]"},
		{`app|{"user":"x","password":"` + plant + `","n":1}`, `app {"user":"x","password":[redacted],"n":1}`},
		{`app|{"user":"x","password":"a\"` + plant + `","n":1}`, `app {"user":"x","password":[redacted],"n":1}`},
		{`sh|-c|curl -d '{"password": "` + plant + `"}' http://h/`, `sh -c curl -d '{"password": [redacted]}' http://h/`},
		{`sh|-c|curl -d "{\"password\": \"` + plant + `\"}" http://h/`, `sh -c curl -d "{\"password\": [redacted]}" http://h/`},
		{`sh|-c|curl -H "Authorization: Bearer ` + plant + `" http://h/`, `sh -c curl -H "Authorization: [redacted]" http://h/`},
		{"sh|-c|export TOKEN=" + plant + "; exec app", "sh -c export TOKEN=[redacted]; exec app"},
		{`sh|-c|export TOKEN="a b ` + plant + `"; exec app`, `sh -c export TOKEN=[redacted]; exec app`},
		{`sh|-c|TOKEN=abc"` + plant + `" exec app`, `sh -c TOKEN=[redacted]`},
		{`sh|-c|X=1 TOKEN=abc"` + plant + `" exec app`, `sh -c X=1 TOKEN=[redacted] exec app`},
		{"sh|-c|exec mysql -uroot -p" + plant + " db", "sh -c exec mysql -uroot -p[redacted] db"},
		{"sh|-c|exec app --password " + plant + " --x", "sh -c exec app --password [redacted] --x"},
		{"sh|-c|exec app --password 'a " + plant + "' --x", "sh -c exec app --password [redacted] --x"},
		{"sh|-c|curl -u bob:" + plant + " http://h/", "sh -c curl -u bob:[redacted] http://h/"},
		{"sh|-c|echo Bearer " + plant + "", "sh -c echo Bearer [redacted]"},
		{"app|" + jwt, "app [redacted]"},
		{"app|AKIAIOSFODNN7EXAMPLE|wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "app [redacted] [redacted]"},
		{"app|--x=ghp_0123456789abcdefABCDEF0123456789abcd", "app --x=[redacted]"},
		{"app|--key|-----BEGIN RSA PRIVATE KEY-----\n" + plant, "app --key -----BEGIN[redacted]"},
		{"app|--cfg|a: b\npassword: x " + plant + "\nc: d", "app --cfg a: b?password: [redacted]?c: d"},
		{"app|--cfg|secret = \"" + plant + "\"", "app --cfg secret = [redacted]"},
	} {
		raw := strings.ReplaceAll(c.in, "|", "\x00") + "\x00"
		got := r.Cmdline(Args{Raw: []byte(raw)})
		if got != c.want {
			t.Errorf("%s\n got %s\nwant %s", c.in, got, c.want)
		}
		for _, leak := range []string{plant, plant[4:], jwt[:20], "wJalrX"} {
			if strings.Contains(got, leak) {
				t.Errorf("%s\nleaks %q: %s", c.in, leak, got)
			}
		}
	}
}

func TestRedactKeeps(t *testing.T) {
	r := NewRedactor(RedactorConfig{})
	for _, in := range []string{
		"nginx: worker process",
		"/usr/sbin/nginx -g daemon off;",
		"curl -s http://10.0.0.1:8080/a?b=c&d=e",
		"docker run -p 8080:80 -v /a:/b nginx:1.25@sha256:0123",
		"git commit --author Bob -m x",
		"ssh -p 2222 bob@host",
		"python3 -m http.server 8000",
		"mysql -h db -P 3306 -u root app",
		"java -Xmx1g -XX:+UseG1GC -jar app.jar --server.port=8080",
		"sh -c while :; do wget -q -O- http://web:80/ && sleep 1; done",
		"postgres: app db 10.0.0.1(4711) idle",
		"app --listen oauth2.example.com:8443 --upstream https://auth.example.com:8443/x",
		"npm install https://registry.npmjs.org:443/@scope/pkg",
		"app --hash da39a3ee5e6b4b0d3255bfef95601890afd80709",
		"scp a.txt bob@host:/tmp/",
		"app [::1]:80 http://[::1]:80/",
	} {
		raw := strings.ReplaceAll(in, " ", "\x00")
		if strings.HasPrefix(in, "sh -c ") {
			raw = "sh\x00-c\x00" + in[6:]
		}
		if got := r.Cmdline(Args{Raw: []byte(raw + "\x00")}); got != in {
			t.Errorf("%s\nbecame %s", in, got)
		}
	}
}

func TestCmdlineModes(t *testing.T) {
	args := Args{Raw: []byte("app\x00--password\x00x\x1b[31m\xff\u202e\x00")}
	for mode, want := range map[CmdlineMode]string{
		"": "app --password [redacted]", CmdlineRedact: "app --password [redacted]",
		CmdlineFull: "app --password x?[31m??", CmdlineOff: "",
	} {
		if got := NewRedactor(RedactorConfig{Mode: mode}).Cmdline(args); got != want {
			t.Errorf("%q: got %q, want %q", mode, got, want)
		}
	}
	if err := (RedactorConfig{Mode: "some"}).Validate(); err == nil {
		t.Error("unknown mode accepted")
	}
	if err := (RedactorConfig{}).Validate(); err != nil {
		t.Error(err)
	}
}

func TestCmdlineIsCut(t *testing.T) {
	r := NewRedactor(RedactorConfig{MaxLength: 20})
	got := r.Cmdline(Args{Raw: []byte("app\x00" + strings.Repeat("ü", 100))})
	if len(got) > 20 || !utf8.ValidString(got) || !strings.HasSuffix(got, "…") {
		t.Errorf("got %q", got)
	}
	// half a secret at the end of a cut command line looks like nothing
	r = NewRedactor(RedactorConfig{})
	for _, raw := range []string{"app\x00https://bob:" + plant, "app\x00http://h/\x00" + plant, "app\x00eyJhb" + plant} {
		if got := r.Cmdline(Args{Raw: []byte(raw), Truncated: true}); strings.Contains(got, plant[:5]) {
			t.Errorf("%q leaks: %s", raw, got)
		}
	}
}

func TestRedactMoreNames(t *testing.T) {
	r := NewRedactor(RedactorConfig{Names: []string{"Magic"}})
	if got := r.Cmdline(Args{Raw: []byte("app\x00--my-magic\x00" + plant)}); got != "app --my-magic [redacted]" {
		t.Error(got)
	}
}

func FuzzRedact(f *testing.F) {
	f.Add([]byte("app\x00--password\x00x"), uint8(0))
	f.Add([]byte("sh\x00-c\x00curl -H \"Authorization: Bearer x\" 'a"), uint8(3))
	f.Add([]byte("a://b:c@d\x00{\"token\":\""), uint8(5))
	f.Add([]byte("mysql\x00-p\x00\\\"x=' -u "), uint8(7))
	// A marker that no rule of the scanner may let through, whatever stands
	// around, in the forms that are whole arguments of their own.
	const marker = "Zq9ZpLaNtZq9Z"
	forms := []string{
		"\x00--password\x00" + marker, "\x00--api-key=" + marker, "\x00PGPASSWORD=" + marker,
		"\x00Authorization: Bearer " + marker, "\x00https://u:" + marker + "@h/x", "\x00mysql\x00-p" + marker,
		"\x00curl\x00-u\x00u:" + marker, "\x00--token\x00" + marker + " " + marker,
	}
	r := NewRedactor(RedactorConfig{MaxLength: 1 << 20})
	f.Fuzz(func(t *testing.T, before []byte, form uint8) {
		before = before[:min(len(before), maxArgs/2)]
		raw := string(before) + forms[int(form)%len(forms)] + "\x00-v\x00"
		got := r.Cmdline(Args{Raw: []byte(raw)})
		if strings.Contains(got, marker) {
			t.Fatalf("%q leaks: %s", raw, got)
		}
		if !utf8.ValidString(got) || strings.ContainsAny(got, "\n\r\t\x1b\x00") {
			t.Fatalf("%q: control characters in %q", raw, got)
		}
		if len(got) > 16*len(raw)+64 {
			t.Fatalf("%q grew to %d", raw, len(got))
		}
	})
}

func BenchmarkRedactWorstCase(b *testing.B) {
	r := NewRedactor(RedactorConfig{MaxLength: 1 << 20})
	args := Args{Raw: []byte("sh\x00-c\x00a " + strings.Repeat("(", maxArgs-16))}
	for b.Loop() {
		r.Cmdline(args)
	}
}

func BenchmarkRedact(b *testing.B) {
	r := NewRedactor(RedactorConfig{})
	args := Args{Raw: []byte("java\x00-Xmx1g\x00-Dspring.datasource.password=x\x00-jar\x00/opt/app.jar\x00--spring.config.location=/etc/app.yml\x00")}
	b.ReportAllocs()
	for b.Loop() {
		r.Cmdline(args)
	}
}
