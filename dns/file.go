package dns

import (
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"time"
)

// watched is a file that is read again when it changes. The bytes decide, not
// the times: a file that was only touched has not changed.
type watched struct {
	path   string
	limit  int64
	info   os.FileInfo // as it was read; nil where it was not
	readAt time.Time
	sum    [sha256.Size]byte
	failed string
}

// settled is how old a file must be for its time to tell the next change from
// the last one. Clocks of file systems are coarse.
const settled = 2 * time.Second

// read returns the content where it is another than last time. A problem is
// returned once; what was read before stays in use until the file is back.
func (w *watched) read() (data []byte, changed bool, problem error) {
	data, changed, err := w.look()
	if err == nil {
		w.failed = ""
		return data, changed, nil
	}
	w.info = nil
	if err.Error() == w.failed {
		return nil, false, nil
	}
	w.failed = err.Error()
	return nil, false, err
}

func (w *watched) look() ([]byte, bool, error) {
	info, err := os.Stat(w.path)
	if err != nil {
		return nil, false, err
	}
	if !info.Mode().IsRegular() {
		return nil, false, fmt.Errorf("%s is no regular file: give the path of one", w.path)
	}
	if info.Size() > w.limit {
		return nil, false, fmt.Errorf("%s has %d bytes: at most %d are read", w.path, info.Size(), w.limit)
	}
	if w.info != nil && os.SameFile(info, w.info) && info.Size() == w.info.Size() &&
		info.ModTime().Equal(w.info.ModTime()) && w.readAt.Sub(info.ModTime()) > settled {
		return nil, false, nil
	}
	f, err := os.Open(w.path)
	if err != nil {
		return nil, false, err
	}
	defer f.Close()
	w.readAt = time.Now()
	data, err := io.ReadAll(io.LimitReader(f, w.limit))
	if err != nil {
		return nil, false, err
	}
	sum := sha256.Sum256(data)
	first := w.sum == [sha256.Size]byte{}
	changed := first || sum != w.sum
	w.info, w.sum = info, sum
	return data, changed, nil
}
