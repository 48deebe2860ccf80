//! The few messages of the Postgres protocol that these tests need: this crate has no driver.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use cameo_runtime::postgres::ConnectionInfo;

/// Version 3.0 of the protocol.
const PROTOCOL_VERSION: i32 = 196_608;

pub(crate) struct Client(UnixStream);

impl Client {
    pub(crate) fn connect(info: &ConnectionInfo) -> Self {
        let socket = info.socket_dir.join(format!(".s.PGSQL.{}", info.port));
        let mut stream = UnixStream::connect(&socket).expect("the socket accepts");
        let parameters = format!("user\0{}\0database\0{}\0\0", info.user, info.database);
        stream.write_all(&length_of(parameters.len() + 4)).expect("the server reads");
        stream.write_all(&PROTOCOL_VERSION.to_be_bytes()).expect("the server reads");
        stream.write_all(parameters.as_bytes()).expect("the server reads");
        let mut client = Self(stream);
        client.rows();
        client
    }

    pub(crate) fn send(&mut self, sql: &str) {
        self.0.write_all(b"Q").expect("the server reads");
        self.0.write_all(&length_of(sql.len() + 1)).expect("the server reads");
        self.0.write_all(sql.as_bytes()).expect("the server reads");
        self.0.write_all(&[0]).expect("the server reads");
    }

    /// The first column of every row.
    pub(crate) fn query(&mut self, sql: &str) -> Vec<String> {
        self.send(sql);
        self.rows()
    }

    fn rows(&mut self) -> Vec<String> {
        let mut rows = Vec::new();
        loop {
            let mut head = [0; 5];
            self.0.read_exact(&mut head).expect("the server answers");
            let length = i32::from_be_bytes([head[1], head[2], head[3], head[4]]);
            let mut body = vec![0; usize::try_from(length).expect("a length") - 4];
            self.0.read_exact(&mut body).expect("the server answers");
            match head[0] {
                b'Z' => return rows,
                b'D' => {
                    let length = i32::from_be_bytes([body[2], body[3], body[4], body[5]]);
                    let end = 6 + usize::try_from(length).expect("no null");
                    rows.push(String::from_utf8_lossy(&body[6..end]).into_owned());
                }
                b'E' => panic!("the server refuses: {}", String::from_utf8_lossy(&body)),
                _ => {}
            }
        }
    }
}

fn length_of(payload: usize) -> [u8; 4] {
    i32::try_from(payload + 4).expect("a short message").to_be_bytes()
}
