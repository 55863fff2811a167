// Package bpf holds the BPF programs (C), the objects compiled from them and
// the generated Go that loads them. Nothing else: a generated type never leaves
// the package that imports this one (kprobes, flows/capture/tcx).
package bpf

//go:generate go tool bpf2go -no-global-types -cc clang-19 -strip llvm-strip-19 -target bpfel -go-package bpf -cflags "-O2 -mcpu=v3 -g -Wall -Wextra -Wno-unused-parameter -Wno-missing-declarations -Werror -Iinclude" Socket socket.bpf.c
//go:generate go tool bpf2go -no-global-types -cc clang-19 -strip llvm-strip-19 -target bpfel -go-package bpf -cflags "-O2 -mcpu=v3 -g -Wall -Wextra -Wno-unused-parameter -Wno-missing-declarations -Werror -Iinclude" Process process.bpf.c
//go:generate go tool bpf2go -no-global-types -cc clang-19 -strip llvm-strip-19 -target bpfel -go-package bpf -cflags "-O2 -mcpu=v3 -g -Wall -Wextra -Wno-unused-parameter -Wno-missing-declarations -Werror -Iinclude" L7 l7.bpf.c
//go:generate go tool bpf2go -no-global-types -cc clang-19 -strip llvm-strip-19 -target bpfel -go-package bpf -cflags "-O2 -mcpu=v3 -g -Wall -Wextra -Wno-unused-parameter -Wno-missing-declarations -Werror -Iinclude" Drop drop.bpf.c
//go:generate go tool bpf2go -no-global-types -cc clang-19 -strip llvm-strip-19 -target bpfel -go-package bpf -cflags "-O2 -mcpu=v3 -g -Wall -Wextra -Wno-unused-parameter -Wno-missing-declarations -Werror -Iinclude" Tls tls.bpf.c
//go:generate go tool bpf2go -cc clang-19 -strip llvm-strip-19 -target bpfel -go-package bpf -cflags "-O2 -g -Wall -Wextra -Wno-unused-parameter -Wno-missing-declarations -Werror -Iinclude" Flow flow.bpf.c
