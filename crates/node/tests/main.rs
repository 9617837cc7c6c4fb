//! The one static program as an image carries it: all agents, from the config drive to the report.

#![expect(
    clippy::unwrap_used,
    reason = "the lint does not see that helpers here are tests, too"
)]

#[path = "../../os-collect-config/tests/server/mod.rs"]
#[expect(dead_code, reason = "the server has more than these tests use")]
mod server;

use server::Server;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The program as images get it: the one that `TRIPLEO_NODE_BINARY` names, else one built here. Everything but the last
/// link is there already then.
fn program() -> PathBuf {
    if let Some(program) = std::env::var_os("TRIPLEO_NODE_BINARY") {
        return program.into();
    }
    // This test lies in target/PROFILE/deps.
    let here = std::env::current_exe().unwrap();
    let profile = here
        .ancestors()
        .nth(2)
        .unwrap()
        .file_name()
        .unwrap()
        .to_str()
        .unwrap();
    let profile = if profile == "debug" { "dev" } else { profile };
    // Some build scripts run again when they see variables that cargo sets for tests, and all that hangs on them with them.
    let kept = [
        "PATH",
        "HOME",
        "CARGO_HOME",
        "RUSTUP_HOME",
        "RUSTUP_TOOLCHAIN",
        "CARGO_TARGET_DIR",
        "RUSTFLAGS",
    ];
    let built = Command::new(env!("CARGO"))
        .env_clear()
        .envs(std::env::vars_os().filter(|(name, _)| kept.iter().any(|kept| name == kept)))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args([
            "rustc",
            "--quiet",
            "--offline",
            "-p",
            "node",
            "--bin",
            "node",
            "--profile",
            profile,
        ])
        .args([
            "--message-format",
            "json-render-diagnostics",
            "--",
            "-C",
            "target-feature=+crt-static",
            "-C",
            "relocation-model=static",
        ])
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    assert!(built.status.success());
    let text = String::from_utf8(built.stdout).unwrap();
    let path = text.lines().rev().find_map(|line| {
        let message = metadata::parse(line).unwrap();
        message.get("executable")?.as_text().map(PathBuf::from)
    });
    path.unwrap()
}

/// Copies the program into `directory` and makes its links, as the element's hook does.
fn install(directory: &Path) -> PathBuf {
    let installed = directory.join("node-agents");
    // By a program of its own: while this one held the file open, what a test beside it starts would hold it too, and the kernel
    // runs no file that anybody can write to.
    let copied = Command::new("cp").arg(program()).arg(&installed).status();
    assert!(copied.unwrap().success());
    let made = Command::new(&installed)
        .arg("--install")
        .arg(directory)
        .status()
        .unwrap();
    assert!(made.success());
    installed
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    let mut source = from.as_os_str().to_owned();
    source.push("/.");
    assert!(
        Command::new("cp")
            .arg("-a")
            .arg(source)
            .arg(to)
            .status()
            .unwrap()
            .success()
    );
}

fn element() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../elements/os-agents")
}

#[test]
fn the_program_is_static_and_answers_to_its_names() {
    let directory = tempfile::tempdir().unwrap();
    let program = install(directory.path());
    let bytes = fs::read(&program).unwrap();
    // A dynamic program names its loader.
    let loader = b"/lib64/ld-linux-x86-64.so.2\0";
    assert!(
        !bytes.windows(loader.len()).any(|part| part == loader),
        "it is not static"
    );
    let run = |program: &Path, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).output().unwrap();
        (
            output.status.code(),
            String::from_utf8(output.stdout).unwrap(),
        )
    };
    let phases = "pre-configure\tconfigure\tpost-configure\tmigration\n".to_owned();
    assert_eq!(
        run(
            &directory.path().join("os-refresh-config"),
            &["--print-phases"]
        ),
        (Some(0), phases.clone())
    );
    assert_eq!(
        run(&program, &["os-refresh-config", "--print-phases"]),
        (Some(0), phases)
    );
    let (_, names) = run(&program, &["--list"]);
    for name in names.lines() {
        assert!(directory.path().join(name).exists(), "{name}");
    }
    assert_eq!(run(&program, &["nonsense"]).0, Some(2));
    assert_eq!(run(&program, &[]).0, Some(2));
}

/// A tree of Debian 13 with its C library and the NSS modules that crash static programs of another one.
fn trixie() -> Result<PathBuf, &'static str> {
    if !rustix::process::geteuid().is_root() {
        return Err("only root can change into another root");
    }
    let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join("trixie");
    if root.join("complete").exists() {
        return Ok(root);
    }
    let _ = fs::remove_dir_all(&root);
    let made = Command::new("mmdebstrap")
        .args(["--mode=root", "--variant=extract", "--quiet"])
        .args(["--include=libc6,libc-bin,libnss-systemd,libnss-myhostname,dash,coreutils"])
        .args([
            "--aptopt=APT::Install-Recommends \"false\"",
            "--aptopt=Acquire::Languages \"none\"",
        ])
        .arg("trixie")
        .arg(&root)
        .arg(
            std::env::var("DIB_DISTRIBUTION_MIRROR")
                .unwrap_or("http://deb.debian.org/debian".to_owned()),
        )
        .status();
    match made {
        Err(_) => return Err("mmdebstrap is missing"),
        Ok(status) if !status.success() => {
            return Err("mmdebstrap could not make a tree of trixie");
        }
        Ok(_) => {}
    }
    for name in ["bin", "sbin", "lib", "lib64"] {
        let _ = symlink(format!("usr/{name}"), root.join(name));
    }
    let _ = symlink("dash", root.join("usr/bin/sh"));
    fs::write(root.join("complete"), "").unwrap();
    Ok(root)
}

/// Puts the agents, the element's files and a node's identity into `root`.
fn furnish(root: &Path, server: &Server) {
    for stale in [
        "run",
        "var/lib/os-collect-config",
        "var/lib/os-apply-config",
        "var/lib/heat-config",
        "var/lib/os-refresh-config",
        "usr/libexec",
    ] {
        let _ = fs::remove_dir_all(root.join(stale));
    }
    for directory in [
        "usr/local/bin",
        "run/config-2/tripleo",
        "var/lib",
        "var/log",
        "tmp",
        "dev",
        "proc",
    ] {
        fs::create_dir_all(root.join(directory)).unwrap();
    }
    let _ = fs::remove_file(root.join("var/run"));
    symlink("/run", root.join("var/run")).unwrap();
    install(&root.join("usr/local/bin"));
    // The links name the program by its path outside.
    for entry in fs::read_dir(root.join("usr/local/bin")).unwrap() {
        let path = entry.unwrap().path();
        if path.is_symlink() {
            fs::remove_file(&path).unwrap();
            symlink("node-agents", path).unwrap();
        }
    }
    copy(
        &element().join("os-refresh-config"),
        &root.join("usr/libexec/os-refresh-config"),
    );
    copy(
        &element().join("os-apply-config"),
        &root.join("usr/libexec/os-apply-config/templates"),
    );
    copy(&element().join("static"), root);
    let see = root.join("usr/libexec/os-refresh-config/post-configure.d/10-see");
    fs::write(
        &see,
        "#!/bin/sh\ncp /run/os-apply-config/changed /tmp/seen\n",
    )
    .unwrap();
    fs::set_permissions(&see, fs::Permissions::from_mode(0o755)).unwrap();
    let _ = fs::remove_file(root.join("etc/hello.conf"));
    let etc = |name: &str, text: &str| fs::write(root.join("etc").join(name), text).unwrap();
    etc(
        "passwd",
        "root:x:0:0:root:/root:/bin/sh\nhello:x:990:991::/:/bin/false\n",
    );
    etc("group", "root:x:0:\nhello:x:991:\n");
    etc(
        "nsswitch.conf",
        "passwd: files systemd\ngroup: files systemd\nhosts: files myhostname dns\n",
    );
    etc("hosts", "127.0.0.1 localhost metadata.test\n");
    let drive = format!(
        r#"{{"metadata_url": "{}", "ca": null, "node": "n"}}"#,
        server.named_url()
    );
    fs::write(
        root.join("run/config-2/tripleo/os-collect-config.json"),
        drive,
    )
    .unwrap();
    fs::create_dir_all(root.join("run/config-2/ec2/latest")).unwrap();
    fs::write(
        root.join("run/config-2/ec2/latest/meta-data.json"),
        r#"{"hostname": "n"}"#,
    )
    .unwrap();
    let template = root.join("usr/libexec/os-apply-config/templates/etc/hello.conf");
    fs::write(&template, "greeting={{hello.greeting}} on {{hostname}}\n").unwrap();
    fs::write(
        template.with_extension("conf.oac"),
        "owner: hello\ngroup: hello\nmode: 0640\nvalidate: test -s \"$FILE\"\nservices: hello.service\nrequire: hello.greeting\n",
    )
    .unwrap();
    let systemctl = root.join("usr/local/bin/systemctl");
    fs::write(&systemctl, "#!/bin/sh\necho \"$*\" >> /tmp/systemctl\n").unwrap();
    fs::set_permissions(&systemctl, fs::Permissions::from_mode(0o755)).unwrap();
    let _ = fs::remove_file(root.join("tmp/systemctl"));
}

fn metadata_document(server: &Server, id: &str, greeting: &str) -> String {
    let inputs = |name: &str| {
        format!(
            r#"[{{"name": "deploy_signal_id", "value": "{}"}}]"#,
            server.signal_url(name)
        )
    };
    let (config, script) = (inputs("config"), inputs("script"));
    format!(
        r##"{{"deployments": [
            {{"id": "a{id}", "name": "hello", "group": "os-apply-config", "inputs": {config},
              "config": {{"hello": {{"greeting": "{greeting}"}}}}}},
            {{"id": "b{id}", "name": "job", "group": "script", "inputs": {script}, "outputs": [{{"name": "who"}}],
              "config": "#!/bin/sh\ncat /etc/hello.conf; id -u > $heat_outputs_path.who\n"}}]}}"##
    )
}

fn text<'v>(value: &'v metadata::Value, key: &str) -> &'v str {
    value.get(key).unwrap().as_text().unwrap()
}

#[test]
fn a_change_travels_from_the_drive_to_files_and_back_in_a_root_of_debian_13() {
    let root = match trixie() {
        Ok(root) => root,
        Err(why) => {
            eprintln!("skipped: {why}");
            return;
        }
    };
    let server = Server::start("{}", true);
    furnish(&root, &server);
    server.change(&metadata_document(&server, "1", "hi"));
    let collect = || {
        let mut agent = Command::new("chroot");
        agent
            .arg(&root)
            .args(["/usr/local/bin/os-collect-config", "--one-time"])
            .env("NO_PROXY", "*");
        let output = agent.env_remove("HOME").output().unwrap();
        (
            output.status.code(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    };

    // The C library of this root does ask the modules that the agents must not load.
    let asked = Command::new("chroot")
        .arg(&root)
        .args(["getent", "hosts", "metadata.test"])
        .output()
        .unwrap();
    assert!(
        asked.status.success(),
        "the root is no working Debian: {asked:?}"
    );

    let (code, log) = collect();
    assert_eq!(code, Some(0), "{log}");
    let file = root.join("etc/hello.conf");
    assert_eq!(fs::read_to_string(&file).unwrap(), "greeting=hi on n\n");
    let found = fs::metadata(&file).unwrap();
    assert_eq!(
        (found.uid(), found.gid(), found.mode() & 0o777),
        (990, 991, 0o640)
    );
    let report = server.report(0);
    assert_eq!(
        (
            report.get("exit_code").unwrap().to_json().as_str(),
            text(&report, "generation")
        ),
        ("0", "2")
    );
    let signals = server.signals();
    assert!(
        signals[0].starts_with(r#"script {"who": "0\n", "deploy_stdout": "greeting=hi on n\n""#),
        "{signals:?}"
    );
    assert!(signals[1].starts_with(
        r#"config {"deploy_stdout": "", "deploy_stderr": "", "deploy_status_code": 0"#
    ));
    // Hooks of this run saw what was changed; the next one starts anew.
    let seen = fs::read_to_string(root.join("tmp/seen")).unwrap();
    assert!(seen.lines().any(|line| line == "/etc/hello.conf"), "{seen}");
    assert!(!root.join("run/os-apply-config/changed").exists());

    // The service that reads the file was restarted; what is known of the refresh can be asked for.
    let restarts = || {
        let calls = fs::read_to_string(root.join("tmp/systemctl")).unwrap();
        let restarts = calls.lines().filter(|line| line.starts_with("restart "));
        restarts.map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(restarts(), ["restart hello.service"]);
    let status = || {
        let mut status = Command::new("chroot");
        status.arg(&root);
        status.args(["/usr/local/bin/os-refresh-config", "status"]);
        let output = status.output().unwrap();
        let out = String::from_utf8_lossy(&output.stdout).into_owned();
        (output.status.code(), out)
    };
    let (code, out) = status();
    assert_eq!(code, Some(0), "{out}");
    assert!(out.contains(" s, went well\n"), "{out}");
    assert!(out.contains("generation 2, told to the cloud"), "{out}");
    assert!(out.contains("by a held request\n"), "{out}");
    assert!(
        out.contains(" s  /usr/libexec/os-refresh-config/configure.d/20-os-apply-config\n"),
        "{out}"
    );

    // A file that somebody changed is put right, and told.
    fs::write(&file, "by hand\n").unwrap();
    server.change(&metadata_document(&server, "2", "hello"));
    let (code, log) = collect();
    assert_eq!(code, Some(0), "{log}");
    assert_eq!(fs::read_to_string(&file).unwrap(), "greeting=hello on n\n");
    assert!(
        server
            .report(1)
            .get("drift")
            .unwrap()
            .to_json()
            .starts_with(r#"["/etc/hello.conf sha256:"#)
    );

    assert_eq!(restarts().len(), 2);
    assert!(
        status()
            .1
            .contains("drift:         /etc/hello.conf was changed by hand (sha256:")
    );

    // A template that fails is named, nothing is written, and the deployment fails.
    let bad = root.join("usr/libexec/os-apply-config/templates/etc/aaa.conf");
    fs::write(&bad, "line\n{{#never}}\n{{/closed}}\n").unwrap();
    server.change(&metadata_document(&server, "3", "again"));
    let (code, log) = collect();
    assert_eq!(code, Some(1), "{log}");
    let report = server.report(2);
    assert_eq!(text(&report, "phase"), "configure");
    assert_eq!(
        text(&report, "script"),
        "/usr/libexec/os-refresh-config/configure.d/20-os-apply-config"
    );
    let tail = text(&report, "tail");
    assert!(
        tail.contains("templates/etc/aaa.conf: line 3: Section end tag mismatch: closed != never"),
        "{tail}"
    );
    assert_eq!(fs::read_to_string(&file).unwrap(), "greeting=hello on n\n");
    let (code, out) = status();
    assert_eq!(code, Some(1), "{out}");
    assert!(out.contains("failed in phase configure"), "{out}");
    assert!(
        out.contains("FAILED  /usr/libexec/os-refresh-config/configure.d/20-os-apply-config\n"),
        "{out}"
    );
    // The words of the script are there too, and the report tells all scripts.
    assert!(out.contains("line 3: Section end tag mismatch"), "{out}");
    let scripts = report.get("scripts").unwrap().as_list().unwrap();
    let failed = scripts.last().unwrap();
    assert_eq!(text(failed, "phase"), "configure");
    assert_eq!(failed.get("seconds").unwrap().to_json(), "null");
    let last = server.signals().pop().unwrap();
    assert!(
        last.starts_with("config ")
            && last.contains("failed in phase configure")
            && last.contains("Section end tag mismatch"),
        "{last}"
    );
}

/// The same road without another root, so that it is tested everywhere.
#[test]
fn a_change_travels_from_the_drive_to_files_and_back_on_this_machine() {
    let root = tempfile::tempdir().unwrap();
    let path = |name: &str| root.path().join(name);
    for directory in ["bin", "drive/tripleo", "templates/etc", "base/configure.d"] {
        fs::create_dir_all(path(directory)).unwrap();
    }
    install(&path("bin"));
    let server = Server::start(r#"{"hello": "one"}"#, true);
    let drive = format!(r#"{{"metadata_url": "{}"}}"#, server.url());
    fs::write(path("drive/tripleo/os-collect-config.json"), drive).unwrap();
    fs::write(path("templates/etc/f"), "{{hello}}\n").unwrap();
    let hook = path("base/configure.d/20-os-apply-config");
    fs::write(&hook, "#!/bin/sh\nexec os-apply-config -o \"$OUTPUT\"\n").unwrap();
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).unwrap();
    let search = format!("{}:/usr/bin:/bin", path("bin").display());
    let mut agent = Command::new(path("bin/os-collect-config"));
    let lock = path("lock").display().to_string();
    agent
        .args([
            "--config-file",
            "/dev/null",
            "--min-polling-interval",
            "0.05",
            "-i",
            "600",
            "request",
        ])
        .args(["-c", &format!("os-refresh-config --lockfile {lock}")])
        .arg("--config-drive")
        .arg(path("drive"))
        .arg("--cachedir")
        .arg(path("cache"))
        .arg("--backup-cachedir")
        .arg(path("backup"))
        .env("PATH", search)
        .env("OUTPUT", path("out"))
        .env("OS_CONFIG_APPLIER_TEMPLATES", path("templates"))
        .env("OS_REFRESH_CONFIG_BASE_DIR", path("base"))
        .env("NO_PROXY", "*")
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let mut agent = agent.spawn().unwrap();
    let file = path("out/etc/f");
    let mut seen = Vec::new();
    for (n, word) in ["one", "two", "three"].into_iter().enumerate() {
        if n > 0 {
            server.until_held();
            server.change(&format!(r#"{{"hello": "{word}"}}"#));
        }
        let report = server.report(n);
        seen.push((
            report.get("exit_code").unwrap().to_json(),
            fs::read_to_string(&file).unwrap(),
        ));
    }
    agent.kill().unwrap();
    agent.wait().unwrap();
    let expect = ["one\n", "two\n", "three\n"].map(|word| ("0".to_owned(), word.to_owned()));
    assert_eq!(seen, expect);
}
