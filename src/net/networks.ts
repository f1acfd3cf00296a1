/** Which addresses are public, which the operator allowed, and which are refused. */
import { isIP } from "node:net";
import ipaddr from "ipaddr.js";

/** A parsed network in CIDR notation. */
export type Cidr = [ipaddr.IPv4 | ipaddr.IPv6, number];

/** The relay refused to connect. `reason` names the host, its address and range, and the variable that allows it. */
export class EgressRefused extends Error {
  override readonly name = "EgressRefused";
  readonly reason: string;
  constructor(reason: string) {
    super(reason);
    this.reason = reason;
  }
}

/** The host of a URL without the brackets of an IPv6 address. */
export const bareHost = (hostname: string): string => hostname.replace(/^\[|\]$/g, "");

/** Parses `10.0.0.0/8`, `fd00::/8` or a single address; null when the text is neither. */
export function parseCidr(text: string): Cidr | null {
  const cidr = text.includes("/") ? text : `${text}/${isIP(text) === 6 ? 128 : 32}`;
  const [address = ""] = cidr.split("/");
  if (isIP(address) === 0 || address.includes("%") || !ipaddr.isValidCIDR(cidr)) return null;
  return ipaddr.parseCIDR(cidr);
}

/**
 * Why an address is refused: the name of its range (`loopback`, `private`, `linkLocal`, …), or null when it is public
 * or inside an allowed network. Addresses that contain another one (IPv4-mapped, NAT64, 6to4, Teredo) never count as
 * public.
 */
export function refusedRange(address: string, allow: readonly Cidr[]): string | null {
  if (!ipaddr.isValid(address)) return "not an address";
  const ip = ipaddr.parse(address);
  if (allow.some(([network, bits]) => network.kind() === ip.kind() && ip.match(network, bits))) return null;
  const range = ip.range();
  if (range !== "unicast") return range;
  return ip.kind() === "ipv4" || ip.match(GLOBAL_UNICAST) ? null : "not global unicast";
}

/** The part of IPv6 that is assigned for public use (RFC 4291, section 2.4, and IANA's registry). */
const GLOBAL_UNICAST: [ipaddr.IPv6, number] = ipaddr.IPv6.parseCIDR("2000::/3");

/** Names for the own machine and network (RFC 6761, 6762, 8375, and ICANN's `.internal`). */
const INSIDE = /(^|\.)(localhost|local|internal|home\.arpa|localdomain|intranet|lan|corp)$/;

/** Whether a name is surely none of the public internet, whatever it resolves to. */
export function isInsideName(host: string): boolean {
  const name = host.toLowerCase().replace(/\.$/, "");
  return INSIDE.test(name) || !name.includes(".");
}

/** Whether a network has an address. */
export function contains([network, bits]: Cidr, address: string): boolean {
  const ip = ipaddr.isValid(address) ? ipaddr.parse(address) : null;
  return ip !== null && network.kind() === ip.kind() && ip.match(network, bits);
}

/** The refusal in words. */
export const refusal = (hostname: string, address: string, range: string): string =>
  `${hostname === address ? address : `${hostname} (${address})`} is not a public address (${rangeName(range)}); ` +
  `if it is yours, add ${cidrText(address)} to ALLOW_PRIVATE_NETWORKS and restart the relay`;

/** `linkLocal` → `link-local` */
const rangeName = (range: string): string => range.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);

const cidrText = (address: string): string => `${address}/${isIP(address) === 6 ? 128 : 32}`;

/**
 * What is certain of a URL before its name is resolved: why the guard will refuse it, and what allows it; null when it
 * may pass.
 */
export function foreseeRefusal(url: string, allow: readonly string[], trusted: readonly string[]): string | null {
  const { hostname, origin } = new URL(url);
  if (trusted.includes(origin)) return null;
  const host = bareHost(hostname);
  const range = isIP(host) === 0 ? null : refusedRange(host, allow.map(cidrOrThrow));
  if (range !== null) {
    const mend = `add ${cidrText(host)} to ALLOW_PRIVATE_NETWORKS if it is yours`;
    return `${host} is not a public address (${rangeName(range)}), so every delivery to it dies at once; ${mend}`;
  }
  if (isIP(host) !== 0 || !isInsideName(host) || allow.length > 0) return null;
  const mend = "set ALLOW_PRIVATE_NETWORKS to the network it is in";
  return `${host} is not a public name, so every delivery to it dies at once if its address is private; ${mend}`;
}

/** Throws when the text is not in CIDR notation. */
export function cidrOrThrow(text: string): Cidr {
  const cidr = parseCidr(text);
  if (cidr === null) throw new Error(`"${text}" is not a network in CIDR notation`);
  return cidr;
}
