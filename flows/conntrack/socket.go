package conntrack

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"

	"github.com/weir-probe/weir/flows"
)

const (
	groupNew = 1 // NFNLGRP_CONNTRACK_NEW
	// readSize is more than the kernel puts into one datagram of a dump.
	readSize = 64 << 10
	// eventsAtOnce bounds one turn of a namespace: the others wait.
	eventsAtOnce = 4096
)

// source is one namespace's conntrack; a test has another.
type source interface {
	// fd is readable when there are events.
	fd() int
	// events calls yield with what is there and returns unix.EAGAIN when that is
	// all for now, unix.ENOBUFS when something was lost.
	events(buf []byte, now int64, yield func(*flows.NAT)) error
	dump(buf []byte, now int64, yield func(*flows.NAT)) error
	close()
}

// netlinkSource subscribes to new entries in one namespace.
type netlinkSource struct {
	netns   uint32
	ev, dmp int
}

// openSource subscribes in the namespace at path; "" is the caller's. want is the
// namespace it must still be.
func openSource(path string, want uint32, bufferBytes int) (source, error) {
	s := &netlinkSource{netns: want, ev: -1, dmp: -1}
	err := inside(path, want, func() (err error) {
		if s.dmp, err = unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_NETFILTER); err != nil {
			return fmt.Errorf("open a netfilter socket: %w", err)
		}
		if s.ev, err = unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_NETFILTER); err != nil {
			return fmt.Errorf("open a netfilter socket: %w", err)
		}
		return nil
	})
	if err == nil {
		err = s.subscribe(bufferBytes)
	}
	if err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

func (s *netlinkSource) subscribe(bufferBytes int) error {
	if unix.SetsockoptInt(s.ev, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, bufferBytes) != nil {
		// without CAP_NET_ADMIN: what rmem_max allows
		if err := unix.SetsockoptInt(s.ev, unix.SOL_SOCKET, unix.SO_RCVBUF, bufferBytes); err != nil {
			return fmt.Errorf("size the buffer of a netfilter socket: %w", err)
		}
	}
	if err := unix.SetsockoptTimeval(s.dmp, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 5}); err != nil {
		return fmt.Errorf("limit the wait of a netfilter socket: %w", err)
	}
	if err := unix.Bind(s.dmp, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return fmt.Errorf("bind a netfilter socket: %w", err)
	}
	if err := unix.Bind(s.ev, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: 1 << (groupNew - 1)}); err != nil {
		return fmt.Errorf("subscribe to conntrack events: %w", err)
	}
	return nil
}

func (s *netlinkSource) fd() int { return s.ev }

func (s *netlinkSource) events(buf []byte, now int64, yield func(*flows.NAT)) error {
	for range eventsAtOnce {
		n, err := receive(s.ev, buf)
		if err != nil {
			return err
		}
		if _, err := parse(buf[:n], s.netns, now, yield); err != nil {
			return err
		}
	}
	return unix.EAGAIN
}

// dump reads the whole table. It waits for the kernel, not for anybody else.
func (s *netlinkSource) dump(buf []byte, now int64, yield func(*flows.NAT)) error {
	const size = unix.SizeofNlMsghdr + genMsgSize
	req := make([]byte, size) // the family is AF_UNSPEC: both
	binary.NativeEndian.PutUint32(req, size)
	binary.NativeEndian.PutUint16(req[4:], msgGet)
	binary.NativeEndian.PutUint16(req[6:], unix.NLM_F_REQUEST|unix.NLM_F_DUMP)
	if err := unix.Sendto(s.dmp, req, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return fmt.Errorf("ask for conntrack entries: %w", err)
	}
	for {
		n, err := receive(s.dmp, buf)
		if err != nil {
			return fmt.Errorf("read conntrack entries: %w", err)
		}
		end, err := parse(buf[:n], s.netns, now, yield)
		if err != nil {
			return fmt.Errorf("read conntrack entries: %w", err)
		}
		if end {
			return nil
		}
	}
}

// receive reads one datagram that the kernel sent.
func receive(fd int, buf []byte) (int, error) {
	for {
		n, from, err := unix.Recvfrom(fd, buf, 0)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return 0, err
		}
		if nl, ok := from.(*unix.SockaddrNetlink); ok && nl.Pid == 0 {
			return n, nil
		}
	}
}

func (s *netlinkSource) close() {
	for _, fd := range []int{s.ev, s.dmp} {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
}

// inside runs f in the network namespace at path, which must be the one with the
// inode want: a PID may be somebody else's by now.
func inside(path string, want uint32, f func() error) error {
	if path == "" {
		return f()
	}
	ns, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("open a network namespace: %w", err)
	}
	defer ns.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(ns.Fd()), &st); err != nil {
		return fmt.Errorf("stat a network namespace: %w", err)
	}
	if uint32(st.Ino) != want {
		return fmt.Errorf("%s is another network namespace by now: %w", path, os.ErrNotExist)
	}
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread, which is in the other namespace, ends
		err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET)
		if err != nil {
			err = fmt.Errorf("enter a network namespace (needs CAP_SYS_ADMIN): %w", err)
		} else {
			err = f()
		}
		done <- err
	}()
	return <-done
}
