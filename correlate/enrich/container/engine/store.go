package engine

import (
	"sync"
	"time"

	"github.com/weir-probe/weir/correlate"
	"github.com/weir-probe/weir/flows"
)

// record is one container the store knows.
type record struct {
	container *correlate.Container
	added     int64 // unix ns, when it was heard of
	stopped   int64 // unix ns of its last stop, 0 since it was started again
	gone      int64 // unix ns, 0 while the engine has it
}

// lease is the time a container had an address; to is 0 while it has it.
type lease struct {
	container *correlate.Container
	network   string
	from, to  int64 // unix ns
}

// Attachment is an address of a container in one network.
type Attachment struct {
	Network string
	Addr    flows.Addr
}

// Details is what an engine tells of a container when asked.
type Details struct {
	Container *correlate.Container
	Running   bool
	Created   int64 // unix ns
	Addresses []Attachment
}

// maxLeases is how many past holders of one address are remembered.
const maxLeases = 8

// departure is a container that is gone.
type departure struct {
	id   string
	time int64
}

// Store is what is known of an engine's containers. The client writes, any
// goroutine reads.
type Store struct {
	grace int64
	limit int

	mu         sync.RWMutex
	containers map[string]*record
	leases     map[flows.Addr][]lease
	held       map[string][]flows.Addr         // container → addresses it has or had
	pods       map[string]*correlate.Container // pod UID → its sandbox
	departed   []departure                     // oldest first
	evicted    uint64
	refused    uint64
}

func NewStore(grace time.Duration, limit int) *Store {
	return &Store{
		grace: int64(grace), limit: limit,
		containers: map[string]*record{}, leases: map[flows.Addr][]lease{}, held: map[string][]flows.Addr{}, pods: map[string]*correlate.Container{},
	}
}

// Get returns the container with that id, nil when it is not known.
func (s *Store) Get(id string) *correlate.Container {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if r := s.containers[id]; r != nil {
		return r.container
	}
	return nil
}

// All returns what is known now, ended containers included; the caller owns it.
func (s *Store) All() map[string]*correlate.Container {
	s.mu.RLock()
	defer s.mu.RUnlock()
	all := make(map[string]*correlate.Container, len(s.containers))
	for id, r := range s.containers {
		all[id] = r.container
	}
	return all
}

// Pod returns the sandbox of the pod with that UID, nil when it is not known.
func (s *Store) Pod(uid string) *correlate.Container {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.pods[uid]
}

// At returns the container that had an address at a time, nil when none or more
// than one did.
func (s *Store) At(a flows.Addr, t int64) *correlate.Container {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var found *correlate.Container
	for i := range s.leases[a] {
		l := &s.leases[a][i]
		if l.from > t || l.to != 0 && l.to <= t {
			continue
		}
		if found != nil && found.ID != l.container.ID {
			return nil
		}
		found = l.container
	}
	return found
}

func (s *Store) Len() (n int, evicted, refused uint64) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return len(s.containers), s.evicted, s.refused
}

// Put remembers a container, or what changed of it.
func (s *Store) Put(c *correlate.Container, now int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.putLocked(c, now)
}

// Start notes that a container runs since at.
func (s *Store) Start(c *correlate.Container, at int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.putLocked(c, at)
	if r := s.containers[c.ID]; r != nil {
		r.stopped = 0
	}
}

// Stop notes that a container stopped: it has no addresses then.
func (s *Store) Stop(c *correlate.Container, at int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.putLocked(c, at)
	if r := s.containers[c.ID]; r != nil {
		r.stopped = at
	}
	s.detachLocked(c.ID, "", at)
}

// Refine takes the answer to a question: it may be older than the container's
// end, which it does not undo.
func (s *Store) Refine(d Details, from int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.containers[d.Container.ID]
	if r == nil {
		return
	}
	gone := r.gone
	s.putLocked(d.Container, from)
	if r.gone = gone; gone != 0 || !d.Running && len(d.Addresses) == 0 {
		return
	}
	s.attachLocked(r, d.Addresses, from)
}

func (s *Store) putLocked(c *correlate.Container, now int64) {
	r := s.containers[c.ID]
	if r == nil {
		if len(s.containers) >= s.limit {
			if len(s.departed) == 0 {
				s.refused++
				return
			}
			s.evicted++
			s.forgetLocked()
		}
		s.containers[c.ID] = &record{container: c, added: now}
		s.sandboxLocked(c)
		return
	}
	r.gone = 0
	if *r.container == *c {
		return // what is published stays the same pointer
	}
	r.container = c
	s.sandboxLocked(c)
	for _, a := range s.held[c.ID] {
		for i := range s.leases[a] {
			if l := &s.leases[a][i]; l.container.ID == c.ID {
				l.container = c
			}
		}
	}
}

func (s *Store) sandboxLocked(c *correlate.Container) {
	if c.Sandbox && c.Pod.UID != "" {
		s.pods[c.Pod.UID] = c
	}
}

// attachLocked notes the addresses a container has since from, and ends its
// leases of any other.
func (s *Store) attachLocked(r *record, addresses []Attachment, from int64) {
	id := r.container.ID
	for _, a := range s.held[id] {
		for i := range s.leases[a] {
			if l := &s.leases[a][i]; l.container.ID == id && l.to == 0 && !contains(addresses, a) {
				l.to = from
			}
		}
	}
	for _, a := range addresses {
		s.leaseLocked(r.container, a, from)
	}
	if r.stopped > from {
		s.detachLocked(id, "", r.stopped)
	}
}

func contains(list []Attachment, a flows.Addr) bool {
	for _, x := range list {
		if x.Addr == a {
			return true
		}
	}
	return false
}

func (s *Store) leaseLocked(c *correlate.Container, a Attachment, from int64) {
	list := s.leases[a.Addr]
	for i := range list {
		l := &list[i]
		if l.to != 0 {
			continue
		}
		if l.container.ID == c.ID {
			return
		}
		if l.network == a.Network {
			l.to = from // a network gives an address to one container at a time
		}
	}
	if len(list) >= maxLeases {
		list = append(list[:0], list[1:]...)
	}
	s.leases[a.Addr] = append(list, lease{c, a.Network, from, 0})
	for _, h := range s.held[c.ID] {
		if h == a.Addr {
			return
		}
	}
	s.held[c.ID] = append(s.held[c.ID], a.Addr)
}

// Detach ends a container's leases in a network, or in all with network "".
func (s *Store) Detach(id, network string, at int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.detachLocked(id, network, at)
}

func (s *Store) detachLocked(id, network string, at int64) {
	for _, a := range s.held[id] {
		for i := range s.leases[a] {
			l := &s.leases[a][i]
			if l.container.ID == id && l.to == 0 && (network == "" || l.network == network) {
				l.to = at
			}
		}
	}
}

// Remove starts a container's grace time.
func (s *Store) Remove(id string, at int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.removeLocked(id, at)
}

func (s *Store) removeLocked(id string, at int64) {
	r := s.containers[id]
	if r == nil || r.gone != 0 {
		return
	}
	r.gone = at
	s.detachLocked(id, "", at)
	s.departed = append(s.departed, departure{id, at})
}

// Replace takes a full list that was asked for at some time: containers known
// before then that are not in it are gone.
func (s *Store) Replace(list []Details, asked int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	there := make(map[string]struct{}, len(list))
	for _, d := range list {
		there[d.Container.ID] = struct{}{}
		s.putLocked(d.Container, asked)
		if r := s.containers[d.Container.ID]; r != nil && d.Running {
			for _, a := range d.Addresses {
				s.leaseLocked(r.container, a, d.Created)
			}
		}
	}
	// Only now: the lease of who has an address next has ended that of who had it,
	// at the right time.
	for _, d := range list {
		if !d.Running {
			s.detachLocked(d.Container.ID, "", asked)
		}
	}
	for id, r := range s.containers {
		if _, ok := there[id]; !ok && r.added < asked {
			s.removeLocked(id, asked)
		}
	}
}

// Expire forgets what has been gone for the grace time.
func (s *Store) Expire(now int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.departed) > 0 && s.departed[0].time+s.grace <= now {
		s.forgetLocked()
	}
}

func (s *Store) forgetLocked() {
	d := s.departed[0]
	s.departed = s.departed[1:]
	r := s.containers[d.id]
	if r == nil || r.gone != d.time {
		return // it came back
	}
	delete(s.containers, d.id)
	if uid := r.container.Pod.UID; s.pods[uid] == r.container {
		delete(s.pods, uid)
	}
	for _, a := range s.held[d.id] {
		kept := s.leases[a][:0]
		for _, l := range s.leases[a] {
			if l.container.ID != d.id {
				kept = append(kept, l)
			}
		}
		clear(s.leases[a][len(kept):])
		if s.leases[a] = kept; len(kept) == 0 {
			delete(s.leases, a)
		}
	}
	delete(s.held, d.id)
}
