// Package runtimes knows the container engines of a host: those it was told of,
// those that listen where their packages make them listen, and those that users
// run for themselves. Each is followed on its own, so that one which is missing,
// hung or lying delays nobody else.
package runtimes
