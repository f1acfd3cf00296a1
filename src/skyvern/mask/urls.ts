/** Finds the credentials of URLs, and of proxies that are written without a scheme. */
import type { Found } from "./text-view.ts";

/** A URL's authority. A quote or apostrophe may be part of a password when an `@` follows. */
const AUTHORITY = /:\/\/([^\s/?#<>]*)/g;
/** `git@`, `bob@`: a user without a password, and not a token in the user's place. Or asterisks. */
const USER_ALONE = /^(?:[a-z]{1,12}|\*+)$/;

export function findCredentialsInUrls(text: string, spans: Found) {
  AUTHORITY.lastIndex = 0;
  for (let found = AUTHORITY.exec(text); found !== null; found = AUTHORITY.exec(text)) {
    const start = found.index + 3;
    const authority = found[1] ?? "";
    const at = authority.lastIndexOf("@");
    const colon = authority.indexOf(":");
    const isEndOfQuote = /^[^'":@]*(?::\d{1,5})?['"]/.test(authority);
    if (at >= 0 && !isEndOfQuote) {
      if (!USER_ALONE.test(authority.slice(0, at))) spans.push([start, start + at]);
    } else if (at < 0 && colon >= 0 && !/^:\d*(?:$|["'\\),.;\]}])/.test(authority.slice(colon, colon + 8))) {
      // A password may contain a slash, a question mark or a number sign, although it should not.
      const rest = /^[^\s"<>@]{0,100}@(?=[\w-])/.exec(
        text.slice(start + authority.length, start + authority.length + 102),
      );
      if (rest !== null) spans.push([start, start + authority.length + rest[0].length - 1]);
    }
  }
}

/** What follows the first colon of `:8080:user`. */
export const BEHIND_COLON_OF_PROXY = String.raw`(?=\d{2,5}:[^\s\d/])`;
/** `host:port:user:password` */
const PROXY_PARTS =
  /(?<![\w.-])(?:[a-z0-9-]{1,63}\.){1,9}[a-z0-9-]{1,63}:\d{2,5}:(?=[^\s:/"'<>]{0,64}[a-z])[^\s:/"'<>]{2,64}:[^\s:/"'<>]{2,}/gi;

export function findProxies(text: string, spans: Found) {
  PROXY_PARTS.lastIndex = 0;
  for (let found = PROXY_PARTS.exec(text); found !== null; found = PROXY_PARTS.exec(text)) {
    const port = /:\d{2,5}:/.exec(found[0]);
    if (port !== null) spans.push([found.index + port.index + port[0].length, found.index + found[0].length]);
  }
}
