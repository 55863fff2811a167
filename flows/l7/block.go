package l7

// blockOctets is how much payload a block holds, blockMarks in how many pieces.
const (
	blockOctets = 4096
	blockMarks  = 12
)

// block is the memory for payload that waits: out of order, or for its protocol
// to be recognised.
type block struct {
	next *block // of those out of order, and of the free ones
	seq  uint32 // of the first octet
	size uint32 // payload of the packet, of which data holds the beginning
	time int64
	used int // octets of data
	n    int // marks
	mark [blockMarks]mark
	data [blockOctets]byte
}

// mark is one piece: octets of data, or a gap.
type mark struct {
	dir  Dir
	turn bool
	off  uint16
	n    uint16
	gap  int64 // octets not copied; -1 not known how many; 0 this is data
	time int64
}

// take returns a block for one conversation, nil when there are as many as there
// may be.
func (o *Observer) take() *block {
	b := o.free
	switch {
	case b != nil:
		o.free = b.next
	case o.blocks < o.maxBlocks:
		o.blocks++
		b = new(block)
	default:
		o.stats.NoRoom++
		return nil
	}
	b.next, b.used, b.n = nil, 0, 0
	return b
}

func (o *Observer) give(b *block) {
	b.next = o.free
	o.free = b
}
