package setup

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// random is a password: 32 letters and digits out of 24 random octets.
func random() string {
	b := make([]byte, 24)
	_, _ = rand.Read(b) // never fails
	return strings.NewReplacer("-", "a", "_", "b").Replace(base64.URLEncoding.EncodeToString(b))
}

// destination says where a new token goes.
func (o *Options) destination() string {
	if o.TokenFile == "-" {
		return "printed once"
	}
	return "in " + o.TokenFile
}

// hand gives a new token to whom asked for it, and to nobody else.
func (o *Options) hand(token string) error {
	if o.TokenFile == "-" {
		_, err := fmt.Fprintln(o.Out, token)
		return err
	}
	if err := writeFile(o.TokenFile, []byte(token+"\n"), 0o600); err != nil {
		return fmt.Errorf("keep the token: %w", err)
	}
	return nil
}

// writeFile puts a file in place of what was there, in one step.
func writeFile(path string, data []byte, mode os.FileMode) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // gone after the rename
	_, err = f.Write(data)
	if e := f.Chmod(mode); err == nil {
		err = e
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// writable says why a new token could not be kept, before one is made.
func (o *Options) writable() error {
	if o.TokenFile == "" || o.TokenFile == "-" {
		return nil
	}
	if o.Server.TokenFile == o.TokenFile {
		return fmt.Errorf("keep the token: %s is the file with the administrator's", o.TokenFile)
	}
	st, err := os.Stat(filepath.Dir(o.TokenFile))
	if err != nil {
		return fmt.Errorf("keep the token: %w", err)
	}
	if !st.IsDir() {
		return fmt.Errorf("keep the token: %s is no folder", filepath.Dir(o.TokenFile))
	}
	if st, err := os.Stat(o.TokenFile); err == nil && !st.Mode().IsRegular() {
		return fmt.Errorf("keep the token: %s is no file", o.TokenFile)
	}
	return nil
}

// occupied is the error for a file that holds something that is not what is to
// go there: perhaps somebody's only copy.
func (o *Options) occupied() error {
	return fmt.Errorf("keep the token: %s holds something else: remove it, or name another file with %s", o.TokenFile, o.role.flag)
}

// token is what a file holds; "" = nothing.
func token(file string) string {
	b, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// holds says whether a file begins with a prefix.
func holds(file, prefix string) bool { return strings.HasPrefix(token(file), prefix) }
