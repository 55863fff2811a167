package process

import (
	"bytes"
	"strings"

	"github.com/weir-probe/weir/kprobes"
)

// eventArgs is how much of a command line an event carries, octets.
const eventArgs = 512

// image is a program as a process runs it, from exec to exec; children share it.
// It belongs to the table's goroutine: what is published are Process values made
// of it, and version tells which of them are out of date.
type image struct {
	comm    kprobes.Comm // at exec
	name    string
	exe     string // path, or only the last element of it
	args    Args
	cmdline string // rendered from args when first asked for
	version uint32
	// guessed is true when comm is all that is known.
	guessed bool
	// rendered is true when cmdline is valid; args is dropped then.
	rendered bool
	kernel   bool
}

// imageOf makes an image of an exec event, or of a process that exists already.
func imageOf(ev *kprobes.ProcessEvent) *image {
	img := &image{comm: ev.Comm, exe: string(ev.Exe)}
	if ev.PID == 2 || ev.Parent.PID == 2 && len(ev.Exe) == 0 && len(ev.Cmdline) == 0 {
		img.becomeKernel()
		return img
	}
	if len(ev.Exe) == 0 && len(ev.Filename) == 0 && len(ev.Cmdline) == 0 {
		img.guess()
		return img
	}
	img.args = Args{bytes.Clone(ev.Cmdline), len(ev.Cmdline) >= eventArgs}
	img.name = displayName(executableName(ev.Comm.String(), string(ev.Filename), img.exe, string(ev.Cmdline)))
	// The event knows the file only by its last element. Where execve was given an
	// absolute path to that very file, that is it.
	if f := string(ev.Filename); strings.HasPrefix(f, "/") && base(f) == img.exe && !isPseudo(f) {
		img.exe = f
	}
	return img
}

// guessedImage makes an image when nothing but comm is known.
func guessedImage(comm kprobes.Comm) *image {
	img := &image{comm: comm}
	img.guess()
	return img
}

func (i *image) guess() {
	i.guessed, i.name = true, displayName(i.comm.String())
}

func (i *image) becomeKernel() {
	i.kernel, i.guessed, i.name = true, false, KernelName
	i.cmdline, i.rendered = clean("["+i.comm.String()+"]"), true
}

// complete says whether /proc could add anything.
func (i *image) complete() bool {
	return i.kernel || !i.guessed && strings.HasPrefix(i.exe, "/") && !i.args.Truncated
}

// learn takes what /proc says of a process that ran this image when it was
// asked. It refuses when the process runs another one by now.
func (i *image) learn(s *snapshot) bool {
	if s.kernel {
		if !i.guessed {
			return false
		}
		i.becomeKernel()
		i.version++
		return true
	}
	exe := strings.TrimSuffix(s.exe, " (deleted)")
	if i.guessed {
		if s.comm != i.comm.String() {
			return false
		}
		i.guessed = false
		i.name = displayName(executableName(s.comm, "", exe, string(s.args.Raw)))
		i.args, i.rendered = s.args, false
	} else {
		if base(exe) != base(i.exe) {
			return false
		}
		if i.args.Truncated && bytes.HasPrefix(s.args.Raw, i.args.Raw[:min(len(i.args.Raw), eventArgs-2)]) {
			i.args, i.rendered = s.args, false
		}
	}
	i.exe = clip(clean(exe), maxPath)
	i.version++
	return true
}

// command renders the command line once and drops the secrets.
func (i *image) command(r *Redactor) string {
	if !i.rendered {
		i.cmdline, i.rendered = r.Cmdline(i.args), true
		if !i.args.Truncated {
			i.args.Raw = nil
		}
	}
	return i.cmdline
}

const (
	maxName = 64
	maxPath = 512
)

func displayName(s string) string { return clip(clean(s), maxName) }

// isPseudo says whether a path names a descriptor rather than a file.
func isPseudo(p string) bool {
	return strings.HasPrefix(p, "/proc/") || strings.HasPrefix(p, "/dev/fd/")
}
