"""E-mail, to the address that the owner signed in with, or to the operators'."""

import smtplib
from email.message import EmailMessage
from urllib.parse import unquote, urlsplit

from drc.errors import Misconfigured
from undertaker.channel import NobodyKnows, NotTaken
from undertaker.message import Message

PATIENCE = 15.0  # seconds for each answer


class Mail:
    """`url`: `smtp://USER:PASSWORD@HOST:PORT`, with STARTTLS where the server offers it, or
    `smtps://…`. Raises Misconfigured.
    """

    def __init__(self, url: str, sender: str, operators: str = "") -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("smtp", "smtps") or not parts.hostname or "@" not in sender:
            raise Misconfigured(
                "DRC_SMTP_URL and DRC_SMTP_FROM say no way to send mail.",
                hint="smtp://user:password@mail.example.org:587 and drc@example.org",
            )
        self.host, self.is_tls = parts.hostname, parts.scheme == "smtps"
        self.port = parts.port or (465 if self.is_tls else 25)
        self.user, self.password = unquote(parts.username or ""), unquote(parts.password or "")
        self.sender, self.operators = sender, operators

    def send(self, message: Message) -> None:
        address = message.called if message.owner else self.operators
        if "@" not in address:
            raise nobody(f"No address is known of {message.owner or 'the operators'}.")
        mail = EmailMessage()
        try:
            mail["From"], mail["To"] = self.sender, address
        except ValueError as failed:
            raise nobody(f"That is no address: {failed}") from None
        mail["Subject"] = f"drc: {message.title}"
        mail["Message-ID"] = f"<drc-{message.id}-{message.made_at:%Y%m%d%H%M%S}@{self.host}>"
        mail["Auto-Submitted"] = "auto-generated"
        day = f"\n\n{message.spark}  its busiest GPU in the last 24 hours" if message.spark else ""
        mail.set_content(message.text + day + "\n")
        try:
            server = self.server()
        except (OSError, smtplib.SMTPException) as failed:
            raise NotTaken(f"The mail server does not take us: {failed}") from None
        try:
            server.send_message(mail)
        except smtplib.SMTPServerDisconnected as failed:
            raise NobodyKnows(f"The mail server broke off: {failed}") from None
        except smtplib.SMTPRecipientsRefused as failed:
            raise nobody(f"The mail server refused: {failed}") from None
        except smtplib.SMTPException as failed:
            raise NotTaken(f"The mail server refused: {failed}") from None
        except OSError as failed:
            raise NobodyKnows(f"The mail server broke off: {failed}") from None
        finally:
            server.close()

    def server(self) -> smtplib.SMTP:
        kind = smtplib.SMTP_SSL if self.is_tls else smtplib.SMTP
        server = kind(self.host, self.port, timeout=PATIENCE)
        server.ehlo()
        if not self.is_tls and server.has_extn("starttls"):
            server.starttls()
        if self.user:
            server.login(self.user, self.password)
        return server

    def recipient(self, message: Message) -> str:
        """It has no buttons."""
        return ""

    def has(self, message: Message) -> bool:
        """It cannot be asked; the same Message-ID lets a mailbox see that one came twice."""
        return False


def nobody(why: str) -> NotTaken:
    """Of one whom no mail reaches; others' does."""
    failed = NotTaken(why)
    failed.is_channel = False
    return failed
