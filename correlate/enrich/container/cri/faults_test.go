package cri_test

import (
	"crypto/rand"
	"fmt"
	"net"
	"path/filepath"
	"regexp"
	"testing"
	"time"
	"unicode/utf8"

	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/weir-probe/weir/correlate/enrich/container/cri"
	"github.com/weir-probe/weir/correlate/enrich/container/engine"
	"github.com/weir-probe/weir/test/machine"
)

// speaker is a socket behind which something answers that is no runtime.
func speaker(t *testing.T, say func(net.Conn)) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	l := listen(t, path)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { c.Close() })
			go say(c)
		}
	}()
	return path
}

// raw sends octets that are no message of the protocol.
type raw struct{}

func (raw) Name() string                         { return "raw" }
func (raw) Unmarshal(mem.BufferSlice, any) error { return nil }
func (raw) Marshal(v any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer(v.([]byte))}, nil
}

var _ encoding.CodecV2 = raw{}

func TestRuntimeFaults(t *testing.T) {
	rubbish := make([]byte, 4096)
	_, _ = rand.Read(rubbish)
	wrong := func(_ any, s grpc.ServerStream) error { return s.SendMsg(rubbish) }
	huge := &stub{}
	huge.change(func() {
		for i := range 20 {
			huge.containers = append(huge.containers, &runtime.Container{Id: id(i), Annotations: map[string]string{"x": repeat("y", 1<<20)}})
		}
	})
	hung := &stub{hold: make(chan struct{})}
	for what, c := range map[string]struct {
		host   string
		want   string
		absent bool
	}{
		"no socket":      {filepath.Join(t.TempDir(), "nothing"), "no such file", true},
		"no CRI":         {serve(t, nil), "speaks no CRI v1", true},
		"hung at once":   {speaker(t, func(net.Conn) {}), "DeadlineExceeded|Unavailable", false},
		"hung list":      {serve(t, hung), "ListContainers: DeadlineExceeded", false},
		"rubbish":        {speaker(t, func(c net.Conn) { _, _ = c.Write(rubbish); c.Close() }), "Unavailable|DeadlineExceeded", false},
		"HTTP":           {speaker(t, func(c net.Conn) { fmt.Fprint(c, "HTTP/1.1 400 Bad Request\r\n\r\n"); c.Close() }), "Unavailable|DeadlineExceeded", false},
		"endless":        {speaker(t, endless), "Unavailable|DeadlineExceeded", false},
		"slow drip":      {speaker(t, drip), "Unavailable|DeadlineExceeded", false},
		"wrong messages": {serve(t, nil, grpc.ForceServerCodecV2(raw{}), grpc.UnknownServiceHandler(wrong)), "Version: (Internal|Unknown)", false},
		"huge list":      {serve(t, huge), "ListContainers: ResourceExhausted", false},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			timeout := 300 * time.Millisecond
			if what == "huge list" { // only its size is wrong
				timeout = 10 * time.Second
			}
			cl := follow(t, cri.Config{Host: c.host, Timeout: timeout})
			machine.Until(t, "failed twice", func() bool { return cl.Stats().Failures >= 2 })
			if s := cl.Status(); s.Connected || s.Absent != c.absent || !regexp.MustCompile(c.want).MatchString(s.Error) || len(s.Error) > 600 {
				t.Errorf("%+v", s)
			}
			start := time.Now()
			if cl.Lookup(id(1)) != nil || cl.Pod("u") != nil || cl.ByAddress(addr("10.0.0.1"), 1) != nil {
				t.Error("invented something")
			}
			if d := time.Since(start); d > 10*time.Second {
				t.Errorf("a question waited %s for the runtime", d)
			}
		})
	}
}

func endless(c net.Conn) {
	b := make([]byte, 1<<16)
	for {
		if _, err := c.Write(b); err != nil {
			return
		}
	}
}

// drip sends the beginning of a proper answer, an octet at a time.
func drip(c net.Conn) {
	settings := []byte{0, 0, 0, 4, 0, 0, 0, 0, 0} // an empty SETTINGS frame
	for _, b := range append(settings, make([]byte, 1000)...) {
		if _, err := c.Write([]byte{b}); err != nil {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// An engine that many hosts lack is no failure, and one that goes away is.
func TestAbsentIsNoFailure(t *testing.T) {
	c := follow(t, cri.Config{Host: "/nonexistent/cri.sock", Presence: engine.Possible})
	machine.Until(t, "tried", func() bool { return c.Status().Absent })
	if s := c.Stats(); s.Failures != 0 {
		t.Errorf("%+v", s)
	}
}

func TestHungRuntimeIsLeft(t *testing.T) {
	s := &stub{}
	_, con := s.pod(1, "shop", "api-0", 0)
	c := follow(t, cri.Config{Host: serve(t, s), Timeout: 100 * time.Millisecond, Ping: 20 * time.Millisecond})
	machine.Until(t, "connected", connected(c))
	hold := make(chan struct{})
	s.change(func() { s.hold = hold })
	machine.Until(t, "left", func() bool { return !c.Status().Connected })
	if got := c.Lookup(con); got == nil || got.Name != "main" {
		t.Errorf("forgotten while the runtime is away: %+v", got)
	}
	close(hold)
	machine.Until(t, "back", connected(c))
}

// A question about one pod that is not answered is as good as none: the runtime is
// left, and asked again about that pod when it is back.
func TestHungQuestion(t *testing.T) {
	s := &stub{hungStatus: true}
	box, _ := s.pod(1, "shop", "api-0", 0, "10.0.0.7")
	c := follow(t, cri.Config{Host: serve(t, s), Timeout: 100 * time.Millisecond})
	machine.Until(t, "left", func() bool {
		return regexp.MustCompile("PodSandboxStatus: DeadlineExceeded").MatchString(c.Status().Error)
	})
	s.change(func() { s.hungStatus = false })
	machine.Until(t, "connected", connected(c))
	if got := c.ByAddress(addr("10.0.0.7"), time.Now().UnixNano()); got == nil || got.ID != box {
		t.Errorf("%+v", got)
	}
}

// Names are data, whatever they hold; they are bounded, and what has no proper id
// is left out.
func TestHostileNames(t *testing.T) {
	s := &stub{}
	name := "a,b=c \"d\"\n\x1b[31m\x00\u2028"
	_, odd := s.pod(1, name, name, 0, "not an address", "0.0.0.0", "127.0.0.1", "10.0.0.5")
	_, long := s.pod(2, repeat("ü", 4096), repeat("ö", 4096), 0)
	_, bomb := s.pod(3, "shop", "bomb-0", 0)
	_, bare := s.pod(4, "shop", "bare-0", 0)
	s.change(func() {
		for i := range 10000 {
			s.sandboxes[2].Labels[fmt.Sprint("label", i)] = "x"
			s.containers[2].Labels[fmt.Sprint("label", i)] = "x"
		}
		s.containers[3].Labels, s.containers[3].Metadata, s.containers[3].Image = nil, nil, nil
		s.sandboxes[3].Labels, s.sandboxes[3].Metadata = nil, nil
		s.containers = append(s.containers, &runtime.Container{Id: "../../etc/passwd"}, &runtime.Container{Id: repeat("Z", 64)}, &runtime.Container{})
		s.sandboxes = append(s.sandboxes, &runtime.PodSandbox{Id: repeat("a", 63)})
	})
	c := follow(t, cri.Config{Host: serve(t, s)})
	machine.Until(t, "connected", connected(c))
	if got := c.Lookup(odd); got == nil || got.Pod.Name != name || got.Pod.Namespace != name {
		t.Errorf("a name is data: %+v", got)
	}
	if got := c.ByAddress(addr("10.0.0.5"), time.Now().UnixNano()); got == nil || got.Pod.Name != name {
		t.Errorf("address: %+v", got)
	}
	if c.ByAddress(addr("127.0.0.1"), time.Now().UnixNano()) != nil || c.ByAddress(addr("0.0.0.0"), time.Now().UnixNano()) != nil {
		t.Error("a pod got an address that is everybody's")
	}
	if got := c.Lookup(long); len(got.Pod.Name) != 256 || len(got.Pod.Namespace) != 256 || !utf8.ValidString(got.Pod.Name) {
		t.Errorf("%d octets of name", len(got.Pod.Name))
	}
	if got := c.Lookup(bomb); got == nil || got.DisplayName() != "shop/bomb" {
		t.Errorf("%+v", got)
	}
	if got := c.Lookup(bare); got == nil || got.DisplayName() != "container" {
		t.Errorf("%+v", got)
	}
	if n := c.Stats().Containers; n != 8 {
		t.Errorf("%d containers kept", n)
	}
}

func TestMemoryIsBounded(t *testing.T) {
	s := &stub{}
	for i := range 200 {
		s.pod(i, "shop", fmt.Sprint("api-", i), 0)
	}
	c := follow(t, cri.Config{Host: serve(t, s), MaxContainers: 100})
	machine.Until(t, "connected", connected(c))
	if st := c.Stats(); st.Containers != 100 || st.Refused != 300 {
		t.Errorf("%+v", st)
	}
}
