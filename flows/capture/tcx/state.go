package tcx

import "github.com/weir-probe/weir/flows"

// flowState is what was already reported of a flow instance: the minuend stays
// in the kernel, this is the subtrahend. It holds no pointer, so that a hundred
// thousand of them cost the garbage collector nothing.
type flowState struct {
	startNs uint64 // kernel's name of the instance
	start   int64  // unix ns, fixed when first seen: Record.Start must not follow clock corrections
	dir     [2]dirState
}

type dirState struct {
	packets, octets, payload uint64
	zeroWindows              uint32
	flags                    flows.TCPFlags
}

// states is a map from key to flowState whose values lie in fixed blocks: the Go
// map holds only a number, stays small, and growing copies no state.
type states struct {
	index  map[flows.Key]uint32
	blocks [][]flowState
	free   []uint32
}

const stateBlock = 2048

func newStates() states { return states{index: make(map[flows.Key]uint32)} }

// get returns nil for an unknown key. The pointer is valid until remove.
func (s *states) get(k flows.Key) *flowState {
	i, ok := s.index[k]
	if !ok {
		return nil
	}
	return &s.blocks[i/stateBlock][i%stateBlock]
}

func (s *states) add(k flows.Key) *flowState {
	if len(s.free) == 0 {
		n := uint32(len(s.blocks)) * stateBlock
		s.blocks = append(s.blocks, make([]flowState, stateBlock))
		for i := uint32(stateBlock); i > 0; i-- {
			s.free = append(s.free, n+i-1)
		}
	}
	i := s.free[len(s.free)-1]
	s.free = s.free[:len(s.free)-1]
	s.index[k] = i
	st := &s.blocks[i/stateBlock][i%stateBlock]
	*st = flowState{}
	return st
}

func (s *states) remove(k flows.Key) {
	if i, ok := s.index[k]; ok {
		delete(s.index, k)
		s.free = append(s.free, i)
	}
}

func (s *states) len() int { return len(s.index) }
