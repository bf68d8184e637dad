// Numbers, times and durations for people. Times are in the reader's zone; UTC stands in the title.
import { h } from "./dom.js";

const whole = new Intl.NumberFormat("en-US");
const tenths = new Intl.NumberFormat("en-US", { maximumFractionDigits: 1 });

export const number = (value) => (value === null || value === undefined ? "–" : whole.format(value));
export const percent = (part, all) => (all ? `${tenths.format((100 * part) / all)}\u00a0%` : "–");
export const counted = (value, what, many = `${what}s`) => `${number(value)} ${value === 1 ? what : many}`;

export function duration(seconds) {
  if (seconds === null || seconds === undefined || Number.isNaN(seconds)) return "–";
  const rounded = Math.max(0, Math.round(seconds));
  if (rounded < 60) return `${rounded} s`;
  const minutes = Math.floor(rounded / 60);
  if (minutes < 60) return rounded % 60 && minutes < 10 ? `${minutes} min ${rounded % 60} s` : `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return minutes % 60 ? `${hours} h ${minutes % 60} min` : `${hours} h`;
  const days = Math.floor(hours / 24);
  return hours % 24 ? `${days} days ${hours % 24} h` : `${days} days`;
}

const utcText = (date) => `${date.toISOString().slice(0, 19).replace("T", " ")} UTC`;
const moment = (seconds, options) => new Date(seconds * 1000).toLocaleString(undefined, options);

export function time(seconds) {
  if (!seconds) return "–";
  const date = new Date(seconds * 1000);
  const text = moment(seconds, { month: "short", day: "numeric", hour: "2-digit", minute: "2-digit" });
  const year = date.getFullYear() === new Date().getFullYear() ? "" : ` ${date.getFullYear()}`;
  return h("time", { datetime: date.toISOString(), title: utcText(date) }, text + year);
}

export const ago = (seconds, now) => `${duration(now - seconds)} ago`;
export const day = (seconds) => moment(seconds, { month: "short", day: "numeric" });
// Days, and the time besides where several are of one day.
export function stamps(all) {
  const days = all.map(day);
  const several = new Set(days).size < days.length;
  return several ? all.map((seconds, index) => `${days[index]}, ${clock(seconds)}`) : days;
}
export const clock = (seconds) => moment(seconds, { hour: "2-digit", minute: "2-digit" });
export const words = (text) => String(text).replaceAll("_", " ");
export const title = (text) => words(text).replace(/^./, (first) => first.toUpperCase());
