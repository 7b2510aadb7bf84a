package bench

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// tick is the unit of CPU time in /proc: USER_HZ is 100 on every architecture
// that Go runs on (include/asm-generic/param.h).
const tick = 10 * time.Millisecond

// processCPU returns the CPU time that a process has used, in user and kernel.
func processCPU(pid int) (time.Duration, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, fmt.Errorf("CPU time of process %d: %w", pid, err)
	}
	d, err := parseProcessCPU(data)
	if err != nil {
		return 0, fmt.Errorf("CPU time of process %d: %w", pid, err)
	}
	return d, nil
}

// parseProcessCPU adds utime and stime, fields 14 and 15 of proc_pid_stat(5).
// The second field is a name in brackets that may hold blanks and brackets.
func parseProcessCPU(stat []byte) (time.Duration, error) {
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) < 13 {
		return 0, fmt.Errorf("malformed stat %q", stat)
	}
	return ticks(fields[11:13])
}

// machineCPU returns the time that all CPUs have been busy, since the start.
func machineCPU() (time.Duration, error) {
	data, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, fmt.Errorf("CPU time of the machine: %w", err)
	}
	return parseMachineCPU(data)
}

// parseMachineCPU adds user, nice, system, irq, softirq and steal of the first
// line of proc_stat(5): all but idle and iowait, and guest, which user holds.
func parseMachineCPU(stat []byte) (time.Duration, error) {
	line, _, _ := bytes.Cut(stat, []byte("\n"))
	fields := bytes.Fields(line)
	if len(fields) < 9 || string(fields[0]) != "cpu" {
		return 0, fmt.Errorf("CPU time of the machine: malformed line %q", line)
	}
	busy, err := ticks(fields[1:4])
	if err != nil {
		return 0, err
	}
	interrupts, err := ticks(fields[6:9])
	return busy + interrupts, err
}

func ticks(fields [][]byte) (time.Duration, error) {
	var sum time.Duration
	for _, f := range fields {
		n, err := strconv.ParseUint(string(f), 10, 63)
		if err != nil {
			return 0, fmt.Errorf("CPU time: %w", err)
		}
		sum += time.Duration(n) * tick
	}
	return sum, nil
}

// resident returns the resident memory of a process and the most that it ever
// had, in MiB. Mapped ring memory is part of both.
func resident(pid int) (now, peak float64, err error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, 0, fmt.Errorf("memory of process %d: %w", pid, err)
	}
	now, errNow := statusMiB(data, "VmRSS")
	peak, errPeak := statusMiB(data, "VmHWM")
	return now, peak, errors.Join(errNow, errPeak)
}

func statusMiB(status []byte, key string) (float64, error) {
	for line := range strings.Lines(string(status)) {
		rest, ok := strings.CutPrefix(line, key+":")
		if !ok {
			continue
		}
		kib, err := strconv.ParseFloat(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 64)
		if err != nil {
			return 0, fmt.Errorf("memory: %s: %w", key, err)
		}
		return kib / 1024, nil
	}
	return 0, fmt.Errorf("memory: no %s", key)
}

// thisMachine describes the machine as far as it can be found out.
func thisMachine() Machine {
	m := Machine{System: runtime.GOOS, Processor: runtime.GOARCH, CPUs: runtime.NumCPU()}
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		m.System = fmt.Sprintf("%s %s %s", unix.ByteSliceToString(u.Sysname[:]),
			unix.ByteSliceToString(u.Release[:]), unix.ByteSliceToString(u.Machine[:]))
	}
	if info, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(info)) {
			if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == "model name" {
				m.Processor = strings.TrimSpace(value)
				break
			}
		}
	}
	var s unix.Sysinfo_t
	if unix.Sysinfo(&s) == nil {
		m.MemoryMiB = int(s.Totalram * uint64(s.Unit) >> 20)
	}
	return m
}
