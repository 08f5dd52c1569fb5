use std::{
    io::Write,
    sync::{Arc, Mutex},
};

use super::*;

#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn written(settings: Settings<'_>, events: impl FnOnce()) -> String {
    let written = Written::default();
    let writer = written.clone();
    let subscriber = subscriber(&settings, false, move || writer.clone()).unwrap();
    tracing::subscriber::with_default(subscriber, events);
    let bytes = written.0.lock().unwrap().clone();
    String::from_utf8(bytes).unwrap()
}

#[test]
fn a_person_reads_one_line_per_event() {
    let text = written(Settings { format: Format::Human, filter: "info" }, || {
        tracing::info!(port = 3000, "listening");
        tracing::warn!(words = %"fatal: no\n2026-01-01 ERROR forged\r\n", "repository");
        tracing::debug!("too much");
    });
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 2, "{text}");
    assert!(lines[0].contains("INFO") && lines[0].ends_with("listening port=3000"), "{text}");
    assert!(lines[1].contains("forged") && !text.contains('\r') && text.ends_with('\n'), "{text}");
}

#[test]
fn a_program_reads_one_object_per_event() {
    let text = written(Settings { format: Format::Json, filter: "warn,gradient_telemetry=debug" }, || {
        tracing::debug!(port = 3000, "listen\ning");
        tracing::info!(target: "elsewhere", "not shown");
    });
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(text.starts_with('{') && text.contains(r#""port":3000"#) && text.contains(r#""message":"listen\ning""#), "{text}");
}

#[test]
fn a_wrong_setting_is_named() {
    let error = subscriber(&Settings { format: Format::Human, filter: "gradient=loud" }, false, io::stderr).err().unwrap();
    assert!(error.to_string().contains("gradient=loud"), "{error}");
    assert!("JSON".parse::<Format>().unwrap_err().to_string().contains("`human` or `json`"));
    assert_eq!("human".parse::<Format>().unwrap(), Format::Human);
}

#[test]
fn a_second_start_is_refused() {
    let settings = Settings { format: Format::Human, filter: "off" };
    // Another test of this process may have been first when they share one; the second call always fails.
    let _ = init(&settings);
    assert!(matches!(init(&settings), Err(TelemetryError::AlreadyRunning)));
}
