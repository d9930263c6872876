//! What passes on a connection.

/// The application protocol of a span's exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// No byte has told: the connect failed.
    Unknown,
    /// HTTP/1.0 and HTTP/1.1
    Http1,
    /// HTTP/2
    Http2,
    /// gRPC, on HTTP/2
    Grpc,
    /// `WebSocket`, after its handshake
    WebSocket,
    /// A request as a front server hands it on in the uwsgi protocol
    Uwsgi,
    /// A request as a front server hands it on in `FastCGI`
    FastCgi,
    /// `PostgreSQL`
    Postgresql,
    /// `MySQL` and `MariaDB`
    Mysql,
    /// Redis
    Redis,
    /// memcached
    Memcached,
}

/// What kind of thing an exchange asks for: decides how its span is named.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Family {
    /// A request with a method and a target, answered with a status.
    Http,
    /// A session: both sides send when they like.
    Session,
    /// A query to an SQL database.
    Sql,
    /// A command to a key-value store.
    Store,
}

impl Protocol {
    /// The word that stands in the output.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Http1 => "http1",
            Self::Http2 => "http2",
            Self::Grpc => "grpc",
            Self::WebSocket => "websocket",
            Self::Uwsgi => "uwsgi",
            Self::FastCgi => "fastcgi",
            Self::Postgresql => "postgresql",
            Self::Mysql => "mysql",
            Self::Redis => "redis",
            Self::Memcached => "memcached",
        }
    }

    /// The scheme of a URL for it, without TLS. A front server's request has its own, from its variables.
    pub const fn scheme(self) -> &'static str {
        match self {
            Self::Unknown | Self::Http1 | Self::Http2 | Self::Grpc | Self::Uwsgi | Self::FastCgi => "http",
            Self::WebSocket => "ws",
            Self::Postgresql | Self::Mysql | Self::Redis | Self::Memcached => self.as_str(),
        }
    }

    /// What it asks for.
    pub const fn family(self) -> Family {
        match self {
            Self::Unknown | Self::Http1 | Self::Http2 | Self::Grpc | Self::Uwsgi | Self::FastCgi => {
                Family::Http
            }
            Self::WebSocket => Family::Session,
            Self::Postgresql | Self::Mysql => Family::Sql,
            Self::Redis | Self::Memcached => Family::Store,
        }
    }
}
