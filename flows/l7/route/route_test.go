package route

import (
	"strings"
	"testing"

	"github.com/weir-probe/weir/flows/l7"
)

func TestRoute(t *testing.T) {
	for target, want := range map[string]string{
		"/":                              "GET /",
		"":                               "GET /",
		"*":                              "GET *",
		"/users/42/orders":               "GET /users/{id}/orders",
		"/users/42/orders?token=secret":  "GET /users/{id}/orders",
		"/users/42#x":                    "GET /users/{id}",
		"/users/":                        "GET /users/",
		"/users?id=1/2":                  "GET /users",
		"http://api.example/users/7?x=1": "GET /users/{id}",
		"http://api.example":             "GET /",
		"http://api.example?x=/a":        "GET /",
		"/o/123e4567-e89b-12d3-a456-426614174000/x": "GET /o/{id}/x",
		"/c/deadbeef":                             "GET /c/{id}",
		"/feed/added":                             "GET /feed/added",
		"/c/deadbee5":                             "GET /c/{id}",
		"/c/00ff00ff00ff":                         "GET /c/{id}",
		"/c/abcdefabcdefabcdefabcdef":             "GET /c/{id}",
		"/mail/joe@example.org":                   "GET /mail/{id}",
		"/api/v1/pods":                            "GET /api/v1/pods",
		"/apis/apps/v1beta1/deployments":          "GET /apis/apps/v1beta1/deployments",
		"/oauth2/token":                           "GET /oauth2/token",
		"/user-42":                                "GET /{id}",
		"/user-profile_view.html":                 "GET /user-profile_view.html",
		"/static/app.3f2a91bc.js":                 "GET /static/{file}.js",
		"/static/main.js":                         "GET /static/main.js",
		"/img/IMG20240501.jpeg":                   "GET /img/{file}.jpeg",
		"/t/eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9": "GET /t/{token}",
		"/t/eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.x": "GET /t/{token}",
		"/t/dGhpc0lzQVNlY3JldA":                                 "GET /t/{token}",
		"/t/aGVsbG8gd29ybGQ=":                                   "GET /t/{token}",
		"/t/AbCdEfGhIjKlMnOpQr":                                 "GET /t/{token}",
		"/getUserOrdersByName":                                  "GET /getUserOrdersByName",
		"/caf%C3%A9":                                            "GET /{token}",
		"/caf\xc3\xa9/x":                                        "GET /{token}/x",
		"/a%2fb/../x":                                           "GET /{token}/../x",
		"/\xff\xfe\x00":                                         "GET /{token}",
		"/a;jsessionid=123/b":                                   "GET /a/b",
		"/1/2/3/4/5/6/7/8":                                      "GET /{id}/{id}/{id}/{id}/{id}/{id}/{id}/{id}",
		"/1/2/3/4/5/6/7/8/9/10":                                 "GET /{id}/{id}/{id}/{id}/{id}/{id}/{id}/{id}/{rest}",
		"garbage":                                               "GET /{rest}",
		"//x":                                                   "GET //x",
	} {
		if got := string(Append(nil, []byte("GET"), []byte(target), Whole)); got != want {
			t.Errorf("%q: %q, want %q", target, got, want)
		}
	}
}

func TestMethods(t *testing.T) {
	for method, want := range map[string]string{
		"POST": "POST /x", "get": "other /x", "A1": "other /x", "SECRET": "other /x",
		"CONNECT": "CONNECT {authority}",
	} {
		if got := string(Append(nil, []byte(method), []byte("/x"), Whole)); got != want {
			t.Errorf("%q: %q, want %q", method, got, want)
		}
	}
}

func TestCutTargets(t *testing.T) {
	for target, want := range map[string]string{
		"/users/list/abc": "GET /users/list/{rest}",
		"/users?a=b":      "GET /users",
		"http://exam":     "GET /{rest}",
		"":                "GET /{rest}",
	} {
		if got := string(Append(nil, []byte("GET"), []byte(target), Shortened)); got != want {
			t.Errorf("%q: %q, want %q", target, got, want)
		}
	}
}

func FuzzRoute(f *testing.F) {
	f.Add([]byte("GET"), []byte("/users/42/a.js?x=y"))
	f.Add([]byte("CONNECT"), []byte("a:443"))
	f.Fuzz(func(t *testing.T, method, target []byte) {
		for _, cut := range []Cut{Whole, Shortened} {
			got := Append(nil, method, target, cut)
			if len(got) > l7.MaxOperation {
				t.Fatalf("%d octets: %q", len(got), got)
			}
			for _, c := range got {
				if c < ' ' || c > '~' || c == '?' || c == '%' {
					t.Fatalf("%q has %q", got, c)
				}
			}
		}
	})
}

func TestNoAllocation(t *testing.T) {
	buf := make([]byte, 0, l7.MaxOperation)
	method, target := []byte("GET"), []byte("/users/42/orders/app.12345678.js?x=1")
	if n := testing.AllocsPerRun(100, func() { buf = Append(buf[:0], method, target, Whole) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkRoute(b *testing.B) {
	buf := make([]byte, 0, l7.MaxOperation)
	method, target := []byte("GET"), []byte("/api/v1/users/123e4567-e89b-12d3-a456-426614174000/orders?x=1")
	b.ReportAllocs()
	for b.Loop() {
		buf = Append(buf[:0], method, target, Whole)
	}
}

func TestAppendHost(t *testing.T) {
	long := strings.Repeat("a", 63)
	name := strings.Join([]string{long, long, long, long[:61]}, ".")
	for in, want := range map[string]string{
		"example.org": "example.org", "Shop.Example.ORG:8443": "shop.example.org", "example.org.": "example.org", "example.org.:80": "example.org",
		"user:secret@example.org": "example.org", "my_service:80": "my_service", "localhost": "localhost", "xn--bcher-kva.example": "xn--bcher-kva.example",
		"192.0.2.1:80": "192.0.2.1", "[2001:DB8::1]:443": "2001:db8::1", "[::1]": "::1", "[::ffff:192.0.2.1]": "::ffff:192.0.2.1",
		name: name, name + ".": name, name + "b": "", long + "b": "",
		"": "", ":80": "", ".": "", "a..b": "", ".a": "", "-a": "", "a-": "", "a-.b": "", "a b": "", "a/b": "", "b\xc3\xbccher": "", "a:b": "",
		"a:1234567": "", "[": "", "[]": "", "[::1": "", "[::1]x": "", "[example]": "", "[1.2.3.4]": "", "[" + long + "]": "",
	} {
		if got := string(AppendHost([]byte("x"), []byte(in))); got != "x"+want {
			t.Errorf("AppendHost(%q) appends %q, want %q", in, got[1:], want)
		}
	}
}
