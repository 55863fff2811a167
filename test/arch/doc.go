// Package arch holds no code, only tests of the architecture: which package may
// import which, and the house rules that a compiler does not check.
package arch
