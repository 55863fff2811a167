package anomaly

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
)

// Load reads the state of cfg back. Where there is none, or none that can be read, the
// Detector knows nothing; the error says why, and the file is set aside as
// FILE.corrupt. It may wait for the disk.
func Load(cfg Config, now time.Time) (*Detector, error) {
	if cfg.State == "" {
		return New(cfg), nil
	}
	b, err := readState(cfg.State)
	if errors.Is(err, os.ErrNotExist) {
		return New(cfg), nil
	}
	if err != nil {
		return New(cfg), fmt.Errorf("what was learnt of anomalies is not readable, learning begins anew: %w", err)
	}
	d, err := Restore(cfg, b, now)
	if err == nil {
		return d, nil
	}
	err = fmt.Errorf("what was learnt of anomalies is lost, learning begins anew: %s: %w", cfg.State, err)
	aside := cfg.State + ".corrupt"
	if e := os.Rename(cfg.State, aside); e != nil {
		return New(cfg), errors.Join(err, e)
	}
	return New(cfg), fmt.Errorf("%w (set aside as %s)", err, aside)
}

func readState(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxState+1))
	if err == nil && len(b) > maxState {
		err = fmt.Errorf("%s is larger than %d octets", path, maxState)
	}
	return b, err
}

// Save replaces the file at path by b, which is on the disk when it returns; after a
// crash there is the old one or the new one. It may wait for the disk.
func Save(path string, b []byte) (err error) {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, filepath.Base(path)+".new-*") // 0600: it holds command lines
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.Remove(f.Name())
		}
	}()
	_, err = f.Write(b)
	err = errors.Join(err, f.Sync(), f.Close())
	if err != nil {
		return err
	}
	if err = os.Rename(f.Name(), path); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
