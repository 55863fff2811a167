package main

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestScript(t *testing.T) {
	noon := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	i, b, err := scripted(func(string) string { return "" })
	if err != nil {
		t.Fatal(err)
	}
	if b != (breakIn{8 * time.Minute, time.Hour}) {
		t.Errorf("break-ins: %v", b)
	}
	for _, c := range []struct {
		after time.Duration
		on    bool
		next  time.Duration
	}{
		{0, true, time.Minute}, {59 * time.Second, true, time.Minute}, {time.Minute, false, 5 * time.Minute},
		{4*time.Minute + 59*time.Second, false, 5 * time.Minute}, {5 * time.Minute, true, 6 * time.Minute},
	} {
		at := noon.Add(c.after)
		if i.at(at) != c.on || !i.next(at).Equal(noon.Add(c.next)) {
			t.Errorf("after %v: %v until %v", c.after, i.at(at), i.next(at))
		}
	}
	for _, bad := range []env{{"DEMO_FOR": "x"}, {"DEMO_FOR": "0s"}, {"DEMO_FOR": "6m"}, {"DEMO_BREAK_IN": "0s"}, {"DEMO_BREAK_IN_EVERY": "-1s"}} {
		if _, _, err := scripted(bad.get); err == nil {
			t.Errorf("%v is taken", bad)
		}
	}
}

type env map[string]string

func (m env) get(k string) string { return m[k] }

// TestShop: a request goes through web and API to the cache and back; without the cache
// it fails.
func TestShop(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go answer(c)
		}
	}()
	backend := httptest.NewServer(api(ln.Addr().String()))
	defer backend.Close()
	front := httptest.NewServer(web(backend.URL))
	defer front.Close()
	c := client()
	defer c.CloseIdleConnections()
	if status, err := get(t.Context(), c, front.URL+"/cart/42"); err != nil || status != http.StatusOK {
		t.Errorf("%d, %v", status, err)
	}
	if v, err := lookup(t.Context(), ln.Addr().String(), "/cart"); err != nil || v != "$2" {
		t.Errorf("%q, %v", v, err)
	}
	ln.Close()
	<-done
	if status, err := get(t.Context(), c, front.URL+"/cart/42"); err != nil || status != http.StatusInternalServerError {
		t.Errorf("without the cache: %d, %v", status, err)
	}
}

// TestWorkerRests: a worker that was killed does not work too much again before the next
// incident.
func TestWorkerRests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := incident{5 * time.Minute, time.Minute}
		time.Sleep(time.Until(i.next(time.Now())))
		if !i.at(time.Now()) {
			time.Sleep(time.Until(i.next(time.Now())))
		}
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		if err := work(ctx, i); err != nil {
			t.Error(err)
		}
	})
}

func TestPager(t *testing.T) {
	var out strings.Builder
	s := httptest.NewServer(pager(&out))
	defer s.Close()
	resp, err := http.Post(s.URL, "application/json", strings.NewReader(`{"host":"h","alerts":[{"status":"event","type":"oom","severity":"error","server":"a\nb","message":"m"},{"status":"firing","type":"new_edge","severity":"warning","client":"x","server":"db","message":"m","client_actor":{"process":"nc","cmdline":"nc db"}}]}`))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if want := "\"h\": event oom (error): \"\" \"a\\nb\": \"m\"\n" +
		"\"h\": firing new_edge (warning): \"x\" \"db\": \"m\" by \"nc\": \"nc db\"\n"; out.String() != want {
		t.Errorf("got %q, want %q", out.String(), want)
	}
}

// TestBreakInKeepsTime: first when Weir has learnt, and not more often than asked for.
func TestBreakInKeepsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Hour+time.Minute)
		defer cancel()
		var at []time.Duration
		breakIn{8 * time.Minute, time.Hour}.run(ctx, func(context.Context) { at = append(at, time.Since(start)) })
		if want := []time.Duration{8 * time.Minute, 68 * time.Minute}; !slices.Equal(at, want) {
			t.Errorf("at %v, want %v", at, want)
		}
	})
}

// TestLookAround reads what is there, by as many connections as entries beside the one
// that found the port.
func TestLookAround(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	accepted := make(chan int)
	go func() {
		n := 0
		for {
			c, err := ln.Accept()
			if err != nil {
				accepted <- n
				return
			}
			n++
			go answer(c)
		}
	}()
	if err := lookAround(t.Context(), ln.Addr().String()); err != nil {
		t.Error(err)
	}
	ln.Close()
	if n := <-accepted; n != taken+1 {
		t.Errorf("%d connections, want %d", n, taken+1)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := lookAround(ctx, ln.Addr().String()); err == nil {
		t.Error("without a cache nothing fails")
	}
}
