// Package volume feeds hostile worlds (port scans, containers and executables with
// made-up names, clients of everything) through the real sink into real databases, and
// asks those how many series they have and whether the sums are what was fed. The same
// way it measures how much room ordinary worlds take: `make sizing`.
package volume
