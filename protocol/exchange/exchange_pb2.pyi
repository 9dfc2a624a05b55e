# mypy: disable-error-code="type-arg"
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Header(_message.Message):
    __slots__ = ("payload_length", "id", "hello", "get_records", "get_nodes", "have_request", "want", "cancel", "get_log", "records", "node", "have", "chunk", "not_found", "busy", "refused", "log", "ahead")
    PAYLOAD_LENGTH_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    HELLO_FIELD_NUMBER: _ClassVar[int]
    GET_RECORDS_FIELD_NUMBER: _ClassVar[int]
    GET_NODES_FIELD_NUMBER: _ClassVar[int]
    HAVE_REQUEST_FIELD_NUMBER: _ClassVar[int]
    WANT_FIELD_NUMBER: _ClassVar[int]
    CANCEL_FIELD_NUMBER: _ClassVar[int]
    GET_LOG_FIELD_NUMBER: _ClassVar[int]
    RECORDS_FIELD_NUMBER: _ClassVar[int]
    NODE_FIELD_NUMBER: _ClassVar[int]
    HAVE_FIELD_NUMBER: _ClassVar[int]
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    NOT_FOUND_FIELD_NUMBER: _ClassVar[int]
    BUSY_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    LOG_FIELD_NUMBER: _ClassVar[int]
    AHEAD_FIELD_NUMBER: _ClassVar[int]
    payload_length: int
    id: int
    hello: Hello
    get_records: GetRecords
    get_nodes: GetNodes
    have_request: HaveRequest
    want: Want
    cancel: Cancel
    get_log: GetLog
    records: Records
    node: Node
    have: Have
    chunk: Chunk
    not_found: NotFound
    busy: Busy
    refused: Refused
    log: Log
    ahead: Ahead
    def __init__(self, payload_length: _Optional[int] = ..., id: _Optional[int] = ..., hello: _Optional[_Union[Hello, _Mapping]] = ..., get_records: _Optional[_Union[GetRecords, _Mapping]] = ..., get_nodes: _Optional[_Union[GetNodes, _Mapping]] = ..., have_request: _Optional[_Union[HaveRequest, _Mapping]] = ..., want: _Optional[_Union[Want, _Mapping]] = ..., cancel: _Optional[_Union[Cancel, _Mapping]] = ..., get_log: _Optional[_Union[GetLog, _Mapping]] = ..., records: _Optional[_Union[Records, _Mapping]] = ..., node: _Optional[_Union[Node, _Mapping]] = ..., have: _Optional[_Union[Have, _Mapping]] = ..., chunk: _Optional[_Union[Chunk, _Mapping]] = ..., not_found: _Optional[_Union[NotFound, _Mapping]] = ..., busy: _Optional[_Union[Busy, _Mapping]] = ..., refused: _Optional[_Union[Refused, _Mapping]] = ..., log: _Optional[_Union[Log, _Mapping]] = ..., ahead: _Optional[_Union[Ahead, _Mapping]] = ...) -> None: ...

class Hello(_message.Message):
    __slots__ = ("versions", "features", "max_payload", "max_outstanding", "encodings", "agent")
    VERSIONS_FIELD_NUMBER: _ClassVar[int]
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    MAX_PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    MAX_OUTSTANDING_FIELD_NUMBER: _ClassVar[int]
    ENCODINGS_FIELD_NUMBER: _ClassVar[int]
    AGENT_FIELD_NUMBER: _ClassVar[int]
    versions: _containers.RepeatedScalarFieldContainer[int]
    features: _containers.RepeatedScalarFieldContainer[str]
    max_payload: int
    max_outstanding: int
    encodings: _containers.RepeatedScalarFieldContainer[int]
    agent: str
    def __init__(self, versions: _Optional[_Iterable[int]] = ..., features: _Optional[_Iterable[str]] = ..., max_payload: _Optional[int] = ..., max_outstanding: _Optional[int] = ..., encodings: _Optional[_Iterable[int]] = ..., agent: _Optional[str] = ...) -> None: ...

class GetRecords(_message.Message):
    __slots__ = ("release", "publisher", "name", "ahead")
    RELEASE_FIELD_NUMBER: _ClassVar[int]
    PUBLISHER_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    AHEAD_FIELD_NUMBER: _ClassVar[int]
    release: bytes
    publisher: bytes
    name: str
    ahead: int
    def __init__(self, release: _Optional[bytes] = ..., publisher: _Optional[bytes] = ..., name: _Optional[str] = ..., ahead: _Optional[int] = ...) -> None: ...

class Records(_message.Message):
    __slots__ = ("index", "roots", "head", "sizes", "ahead")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    ROOTS_FIELD_NUMBER: _ClassVar[int]
    HEAD_FIELD_NUMBER: _ClassVar[int]
    SIZES_FIELD_NUMBER: _ClassVar[int]
    AHEAD_FIELD_NUMBER: _ClassVar[int]
    index: int
    roots: int
    head: bool
    sizes: _containers.RepeatedScalarFieldContainer[int]
    ahead: bool
    def __init__(self, index: _Optional[int] = ..., roots: _Optional[int] = ..., head: _Optional[bool] = ..., sizes: _Optional[_Iterable[int]] = ..., ahead: _Optional[bool] = ...) -> None: ...

class Ahead(_message.Message):
    __slots__ = ("sizes", "whole")
    SIZES_FIELD_NUMBER: _ClassVar[int]
    WHOLE_FIELD_NUMBER: _ClassVar[int]
    sizes: _containers.RepeatedScalarFieldContainer[int]
    whole: bool
    def __init__(self, sizes: _Optional[_Iterable[int]] = ..., whole: _Optional[bool] = ...) -> None: ...

class GetLog(_message.Message):
    __slots__ = ("publisher", "root", "first")
    PUBLISHER_FIELD_NUMBER: _ClassVar[int]
    ROOT_FIELD_NUMBER: _ClassVar[int]
    FIRST_FIELD_NUMBER: _ClassVar[int]
    publisher: bytes
    root: int
    first: int
    def __init__(self, publisher: _Optional[bytes] = ..., root: _Optional[int] = ..., first: _Optional[int] = ...) -> None: ...

class Log(_message.Message):
    __slots__ = ("index", "roots", "forks", "revocations", "entries", "newest", "sizes")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    ROOTS_FIELD_NUMBER: _ClassVar[int]
    FORKS_FIELD_NUMBER: _ClassVar[int]
    REVOCATIONS_FIELD_NUMBER: _ClassVar[int]
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    NEWEST_FIELD_NUMBER: _ClassVar[int]
    SIZES_FIELD_NUMBER: _ClassVar[int]
    index: int
    roots: int
    forks: int
    revocations: int
    entries: int
    newest: int
    sizes: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, index: _Optional[int] = ..., roots: _Optional[int] = ..., forks: _Optional[int] = ..., revocations: _Optional[int] = ..., entries: _Optional[int] = ..., newest: _Optional[int] = ..., sizes: _Optional[_Iterable[int]] = ...) -> None: ...

class GetNodes(_message.Message):
    __slots__ = ("content", "hashes")
    CONTENT_FIELD_NUMBER: _ClassVar[int]
    HASHES_FIELD_NUMBER: _ClassVar[int]
    content: bytes
    hashes: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, content: _Optional[bytes] = ..., hashes: _Optional[_Iterable[bytes]] = ...) -> None: ...

class Node(_message.Message):
    __slots__ = ("index",)
    INDEX_FIELD_NUMBER: _ClassVar[int]
    index: int
    def __init__(self, index: _Optional[int] = ...) -> None: ...

class HaveRequest(_message.Message):
    __slots__ = ("content", "files", "stream", "first", "bases")
    CONTENT_FIELD_NUMBER: _ClassVar[int]
    FILES_FIELD_NUMBER: _ClassVar[int]
    STREAM_FIELD_NUMBER: _ClassVar[int]
    FIRST_FIELD_NUMBER: _ClassVar[int]
    BASES_FIELD_NUMBER: _ClassVar[int]
    content: bytes
    files: bool
    stream: int
    first: int
    bases: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, content: _Optional[bytes] = ..., files: _Optional[bool] = ..., stream: _Optional[int] = ..., first: _Optional[int] = ..., bases: _Optional[_Iterable[bytes]] = ...) -> None: ...

class Have(_message.Message):
    __slots__ = ("total", "first", "whole")
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    FIRST_FIELD_NUMBER: _ClassVar[int]
    WHOLE_FIELD_NUMBER: _ClassVar[int]
    total: int
    first: int
    whole: bool
    def __init__(self, total: _Optional[int] = ..., first: _Optional[int] = ..., whole: _Optional[bool] = ...) -> None: ...

class Want(_message.Message):
    __slots__ = ("content", "stream", "first", "count", "encodings", "bases")
    CONTENT_FIELD_NUMBER: _ClassVar[int]
    STREAM_FIELD_NUMBER: _ClassVar[int]
    FIRST_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    ENCODINGS_FIELD_NUMBER: _ClassVar[int]
    BASES_FIELD_NUMBER: _ClassVar[int]
    content: bytes
    stream: int
    first: int
    count: int
    encodings: _containers.RepeatedScalarFieldContainer[int]
    bases: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, content: _Optional[bytes] = ..., stream: _Optional[int] = ..., first: _Optional[int] = ..., count: _Optional[int] = ..., encodings: _Optional[_Iterable[int]] = ..., bases: _Optional[_Iterable[bytes]] = ...) -> None: ...

class Chunk(_message.Message):
    __slots__ = ("index", "encoding", "base", "payload_hash", "count", "passed_on")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    ENCODING_FIELD_NUMBER: _ClassVar[int]
    BASE_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_HASH_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    PASSED_ON_FIELD_NUMBER: _ClassVar[int]
    index: int
    encoding: int
    base: bytes
    payload_hash: bytes
    count: int
    passed_on: bool
    def __init__(self, index: _Optional[int] = ..., encoding: _Optional[int] = ..., base: _Optional[bytes] = ..., payload_hash: _Optional[bytes] = ..., count: _Optional[int] = ..., passed_on: _Optional[bool] = ...) -> None: ...

class NotFound(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Cancel(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Busy(_message.Message):
    __slots__ = ("retry_ms",)
    RETRY_MS_FIELD_NUMBER: _ClassVar[int]
    retry_ms: int
    def __init__(self, retry_ms: _Optional[int] = ...) -> None: ...

class Refused(_message.Message):
    __slots__ = ("code",)
    CODE_FIELD_NUMBER: _ClassVar[int]
    code: int
    def __init__(self, code: _Optional[int] = ...) -> None: ...
