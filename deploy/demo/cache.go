package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"
)

// cache serves until ctx ends, but not while the incident lasts.
func cache(ctx context.Context, addr string, i incident) error {
	for ctx.Err() == nil {
		until := i.next(time.Now())
		phase, cancel := context.WithDeadline(ctx, until)
		var err error
		if i.at(time.Now()) {
			fmt.Println("the cache hangs up until", until.Format(time.TimeOnly))
			<-phase.Done()
		} else {
			err = listen(phase, addr)
		}
		cancel()
		if err != nil {
			return err
		}
	}
	return nil
}

// listen answers until ctx ends.
func listen(ctx context.Context, addr string) error {
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { ln.Close() })
	defer stop()
	for {
		c, err := ln.Accept()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		go answer(c)
	}
}

// answer reads commands as arrays of bulk strings, and answers each with one.
func answer(c net.Conn) {
	defer c.Close()
	c.SetDeadline(time.Now().Add(10 * time.Second))
	r := bufio.NewReader(io.LimitReader(c, 64<<10))
	for {
		n, err := number(r, '*')
		if err != nil || n > 16 {
			return
		}
		for range n {
			length, err := number(r, '$')
			if err != nil {
				return
			}
			if _, err := r.Discard(length + len("\r\n")); err != nil {
				return
			}
		}
		if _, err := io.WriteString(c, "$2\r\nok\r\n"); err != nil {
			return
		}
	}
}

// number is the count of a line like *2 or $3.
func number(r *bufio.Reader, kind byte) (int, error) {
	line, err := r.ReadString('\n')
	if err != nil {
		return 0, err
	}
	line = strings.TrimSuffix(line, "\r\n")
	if line == "" || line[0] != kind {
		return 0, fmt.Errorf("%q is not Redis", line)
	}
	n, err := strconv.ParseUint(line[1:], 10, 16)
	return int(n), err
}
