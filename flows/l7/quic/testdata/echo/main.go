// Command echo is the server and the client of the QUIC capture, of x/net. See
// record.sh.
package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"log"
	"math/big"
	"time"

	"golang.org/x/net/quic"
)

func main() {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(err)
	about := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "quic.example.test"}, NotAfter: time.Now().AddDate(1, 0, 0)}
	der, err := x509.CreateCertificate(rand.Reader, about, about, &key.PublicKey, key)
	check(err)
	ctx := context.Background()
	server, err := quic.Listen("udp", "127.0.0.1:4434", &quic.Config{TLSConfig: &tls.Config{
		MinVersion: tls.VersionTLS13, NextProtos: []string{"echo"}, Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}},
	}})
	check(err)
	go serve(ctx, server)
	ask(ctx, "echo")
	ask(ctx, "other") // refused: no_application_protocol
	check(server.Close(ctx))
}

func serve(ctx context.Context, e *quic.Endpoint) {
	for {
		c, err := e.Accept(ctx)
		if err != nil {
			return
		}
		go func() {
			s, err := c.AcceptStream(ctx)
			if err != nil {
				return
			}
			io.Copy(s, s)
			s.Close()
		}()
	}
}

func ask(ctx context.Context, protocol string) {
	e, err := quic.Listen("udp", "127.0.0.1:0", nil)
	check(err)
	defer e.Close(ctx)
	c, err := e.Dial(ctx, "udp", "127.0.0.1:4434", &quic.Config{TLSConfig: &tls.Config{
		MinVersion: tls.VersionTLS13, NextProtos: []string{protocol}, ServerName: "Quic.example.test", InsecureSkipVerify: true,
	}})
	if err != nil {
		log.Printf("dial %s: %v", protocol, err)
		return
	}
	s, err := c.NewStream(ctx)
	check(err)
	_, err = s.Write([]byte("hello"))
	check(err)
	s.CloseWrite()
	_, err = io.ReadAll(s)
	check(err)
	c.Close()
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
