// Command peer is the servers and clients of test/services that are written in Go:
//
//	peer grpc-server|kafka-server ADDRESS:PORT
//	peer grpc|kafka ADDRESS:PORT
//
// A client asks for what the test is about and writes a JSON line per request, as
// client.py does.
package main

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"time"
)

// delay is what the servers take for what they do slowly.
const delay = 100 * time.Millisecond

// asked is one request as the client lived it, under the names that weir is to give.
type asked struct {
	L7        string `json:"l7"`
	Operation string `json:"operation"`
	Status    string `json:"status"`
	Failed    bool   `json:"failed"`
	NS        int64  `json:"ns"`
	Piped     bool   `json:"piped,omitempty"` // how long it took is not compared
}

func (a asked) write() {
	if err := json.NewEncoder(os.Stdout).Encode(a); err != nil {
		fail(err)
	}
}

func main() {
	if len(os.Args) != 3 {
		fail(fmt.Errorf("want a role and an address, got %q", os.Args[1:]))
	}
	roles := map[string]func(address string) error{
		"grpc-server": serveGRPC, "grpc": askGRPC, "kafka-server": serveKafka, "kafka": askKafka,
	}
	role := roles[os.Args[1]]
	if role == nil {
		fail(fmt.Errorf("no such role: %s", os.Args[1]))
	}
	if err := role(os.Args[2]); err != nil {
		fail(err)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "peer:", err)
	os.Exit(1)
}

// await waits until somebody listens.
func await(address string) error {
	const patience, pause = 45 * time.Second, 50 * time.Millisecond
	for end := time.Now().Add(patience); ; time.Sleep(pause) {
		c, err := net.DialTimeout("tcp", address, time.Second)
		if err == nil {
			return c.Close()
		}
		if time.Now().After(end) {
			return err
		}
	}
}
