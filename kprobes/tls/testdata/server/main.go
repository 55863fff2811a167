// Command server serves HTTPS as net/http does it, and asks itself or another one:
//
//	server serve CERT KEY           prints its port
//	server ask URL N [PATH...]      asks each path N times; the protocol is what both speak
//
// It is looked into from outside, so it knows nothing of that.
package main

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
)

func main() {
	var err error
	switch os.Args[1] {
	case "serve":
		err = serve(os.Args[2], os.Args[3])
	case "ask":
		err = ask(os.Args[2], os.Args[3], os.Args[4:])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func serve(cert, key string) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(l.Addr().(*net.TCPAddr).Port)
	http.HandleFunc("/ok", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "fine\n") })
	http.HandleFunc("/gone", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusGone) })
	http.HandleFunc("/big", func(w http.ResponseWriter, r *http.Request) {
		for range 64 {
			io.WriteString(w, strings.Repeat("0123456789abcdef", 1024))
		}
	})
	go func() {
		io.Copy(io.Discard, os.Stdin) // ends with who started it
		os.Exit(0)
	}()
	return http.ServeTLS(l, nil, cert, key)
}

func ask(url, times string, paths []string) error {
	n, err := strconv.Atoi(times)
	if err != nil {
		return err
	}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(!strings.HasPrefix(url, "h2:"))
	protocols.SetHTTP2(strings.HasPrefix(url, "h2:"))
	c := http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, Protocols: protocols}}
	for range n {
		for _, p := range paths {
			r, err := c.Get(strings.TrimPrefix(url, "h2:") + p)
			if err != nil {
				return err
			}
			io.Copy(io.Discard, r.Body)
			r.Body.Close()
		}
	}
	return nil
}
