package tls

import (
	"errors"
	"fmt"

	"github.com/weir-probe/weir/kprobes"
)

// Probe says whether this kernel can look inside TLS, by doing it to this program
// for a moment: nil if it can. For `weir doctor`.
func Probe() error {
	set, err := kprobes.Load(kprobes.Config{Payload: true, TLS: true})
	if err != nil {
		return err
	}
	err = set.Attach()
	if err == nil {
		err = set.TLSReady()
	}
	if err == nil {
		err = probeSelf(set)
	}
	return errors.Join(err, set.Close())
}

func probeSelf(k Kernel) error {
	const self = "/proc/self/exe"
	p, err := inspect(self)
	if err != nil {
		return fmt.Errorf("find crypto/tls in this program: %w", err)
	}
	f, err := attach(k, self, p)
	if err != nil {
		return fmt.Errorf("attach uprobes (needs CONFIG_UPROBES and CAP_PERFMON): %w", err)
	}
	return f.close()
}
