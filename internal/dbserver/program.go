package dbserver

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

// Program is an installed server.
type Program struct {
	// Command runs the server; its arguments follow.
	Command []string
	// MariaDB tells a MariaDB from a MySQL.
	MariaDB bool
	// Version is the server's own, such as 10.11.19 or 9.7.4.
	Version string
}

func (p Program) String() string {
	if p.MariaDB {
		return "MariaDB " + p.Version
	}
	return "MySQL " + p.Version
}

// ErrNoProgram says that no server is installed.
var ErrNoProgram = errors.New("neither mariadbd nor mysqld is on PATH: install MariaDB " +
	"(apt-get install mariadb-server, dnf install mariadb-server, brew install mariadb) or MySQL")

// beyondPath is where packages put servers besides PATH, which of an ordinary user
// often has no sbin.
var beyondPath = []string{"/usr/sbin", "/usr/local/sbin", "/usr/libexec"}

// Find returns the server that the command runs, or without one the first installed
// of MariaDB and MySQL. The error is ErrNoProgram if there is none.
func Find(command ...string) (Program, error) {
	if len(command) > 0 {
		return identify(command)
	}
	for _, name := range []string{"mariadbd", "mysqld"} {
		if path, err := lookUp(name); err == nil {
			return identify([]string{path})
		}
	}
	return Program{}, ErrNoProgram
}

// lookUp finds a program in the folders given, on PATH, and where packages put them.
func lookUp(name string, folders ...string) (string, error) {
	for _, folder := range folders {
		if path, err := exec.LookPath(filepath.Join(folder, name)); err == nil {
			return path, nil
		}
	}
	path, err := exec.LookPath(name)
	if err == nil {
		return path, nil
	}
	for _, folder := range beyondPath {
		if path, err := exec.LookPath(filepath.Join(folder, name)); err == nil {
			return path, nil
		}
	}
	return "", err
}

// versionOf reads `mysqld  Ver 9.7.4-2 for Linux on x86_64 (Debian)` and
// `mariadbd  Ver 10.11.19-MariaDB-0+deb12u1 for debian-linux-gnu on x86_64`.
var versionOf = regexp.MustCompile(`Ver (\d+\.\d+\.\d+)(\S*)`)

func identify(command []string) (Program, error) {
	cmd := exec.Command(command[0], append(command[1:len(command):len(command)], "--no-defaults", "--version")...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return Program{}, fmt.Errorf("asking %s for its version: %w\n%s", strings.Join(command, " "), err, out)
	}
	version := versionOf.FindStringSubmatch(string(out))
	if version == nil {
		return Program{}, fmt.Errorf("%s is no MySQL or MariaDB server: asked for its version it says %.200q", strings.Join(command, " "), out)
	}
	return Program{Command: command, MariaDB: strings.Contains(version[2], "MariaDB"), Version: version[1]}, nil
}

// initialise is the command that makes a data directory.
func (p Program) initialise(dir string) (*exec.Cmd, error) {
	if !p.MariaDB {
		return p.run("--initialize-insecure", "--datadir="+dir), nil
	}
	const installer = "mariadb-install-db"
	beside := filepath.Dir(p.Command[len(p.Command)-1])
	path, err := lookUp(installer, beside, filepath.Join(beside, "..", "bin"))
	if err != nil {
		return nil, fmt.Errorf("%s needs %s to make its data directory: %w", p, installer, err)
	}
	return exec.Command(path, append([]string{"--no-defaults", "--datadir=" + dir,
		"--auth-root-authentication-method=normal", "--skip-test-db"}, userArgs()...)...), nil
}

// run is the server with arguments, and without the machine's configuration.
func (p Program) run(args ...string) *exec.Cmd {
	all := append(p.Command[1:len(p.Command):len(p.Command)], "--no-defaults")
	all = append(all, userArgs()...)
	return exec.Command(p.Command[0], append(all, args...)...)
}

// userArgs lets root run a server, which both otherwise refuse.
func userArgs() []string {
	if os.Geteuid() == 0 {
		return []string{"--user=root"}
	}
	return nil
}
