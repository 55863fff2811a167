package usage

// Value is one thing that is read of a group.
type Value uint8

// Counters rise from the group's birth on; times are nanoseconds.
const (
	CPUUser          Value = iota
	CPUSystem              // v1: in steps of 10 ms, see cpuacct.stat
	Periods                // in which the group was runnable and had a quota
	ThrottledPeriods       // of those: the quota was used up
	Throttled              // time that runnable threads were kept from running, all CPUs added up
	OOMKills
	ReadOctets // from block devices
	WriteOctets
	Reads
	Writes
	CPUSome // PSI: at least one thread waited for it
	CPUFull // PSI: all that had something to do waited for it
	MemorySome
	MemoryFull
	IOSome
	IOFull

	Counters // how many there are
)

// Gauges are what is now.
const (
	Quota       = Counters + iota // of CPU time, in millionths of a core
	Memory                        // octets charged to the group
	WorkingSet                    // Memory without file pages not used lately
	MemoryLimit                   // octets; v1: or of a group around it, if that is less
	PIDs                          // processes and threads
	PIDLimit
	Resident  // of a process: octets of its memory that are in RAM
	Threads   // of a process
	OpenFiles // of a process: descriptors; Linux 6.2 and later
	Sockets   // TCP sockets that are not closed; listeners are not counted
	Listeners // listening TCP sockets
	Waiting   // connections that wait to be accepted
	Backlog   // how many may wait

	// What the gauges above are made from.
	quotaTime   // µs in each
	quotaPeriod // µs
	inactiveFile

	values
)

// Values is how many values there are to be told.
const Values = quotaTime

// Reading holds values of one group. A limit or quota that there is not, and what
// the host does not tell, is not in it.
type Reading struct {
	v   [values]uint64
	has uint32
}

// Has says whether the value was read.
func (r *Reading) Has(v Value) bool { return r.has&(1<<v) != 0 }

// Get returns the value, 0 when it was not read.
func (r *Reading) Get(v Value) uint64 { return r.v[v] }

// Set gives a value.
func (r *Reading) Set(v Value, x uint64) {
	r.v[v] = x
	r.has |= 1 << v
}

// Add adds another group of which the same row is to tell. A limit is known only
// where every group has one.
func (r *Reading) Add(o *Reading) {
	for v := range Values {
		if sum := r.v[v] + o.v[v]; sum >= r.v[v] {
			r.v[v] = sum
		}
	}
	const limits = 1<<Quota | 1<<MemoryLimit | 1<<PIDLimit
	r.has = (r.has|o.has)&^limits | r.has&o.has&limits
	for _, v := range [...]Value{Quota, MemoryLimit, PIDLimit} {
		if !r.Has(v) {
			r.v[v] = 0
		}
	}
}

// finish makes the gauges that several files tell together.
func (r *Reading) finish() {
	if r.Has(quotaTime) && r.Has(quotaPeriod) && r.v[quotaPeriod] > 0 && r.v[quotaTime] < 1<<40 {
		r.Set(Quota, r.v[quotaTime]*1e6/r.v[quotaPeriod])
	}
	if r.Has(Memory) && r.Has(inactiveFile) {
		r.Set(WorkingSet, r.v[Memory]-min(r.v[inactiveFile], r.v[Memory]))
	}
	r.has &= 1<<Values - 1
}

// since turns the counters of r, which are totals, into what they rose by since
// the totals before, which it brings up to date. A counter without one before, or
// that fell, has no increase to tell: fell counts the latter.
func (r *Reading) since(before *Reading) (fell uint64) {
	for v := range Counters {
		if !r.Has(v) {
			continue
		}
		total, old, known := r.v[v], before.v[v], before.Has(v)
		before.Set(v, total)
		if known && total >= old {
			r.v[v] = total - old
			continue
		}
		if known {
			fell++
		}
		r.v[v] = 0
		r.has &^= 1 << v
	}
	return fell
}
