-- amounts: how money is read, subtracted and written. Put in front of every script that moves money.
--   Gives SUM_MAX, nanos(text, name), signed_nanos(text, name), difference(a, b), total(a, b),
--   shown(number).
-- Numbers in Lua are doubles: they serve to compare, and are exact to 2^53 only. What HINCRBY is given is text
-- that is exact at any size: an argument as it came, or the result of difference. "-0", "1e+18" or "007" would
-- make HINCRBY fail after earlier writes have gone through, so nothing else ever becomes text.

local AMOUNT_MAX = 9e18 -- nanos; one amount
local SUM_MAX = 9.2e18 -- nanos; a balance, a held sum or a counter: HINCRBY counts to 9.223e18

-- An amount >= 0 from its text, as a number. Raises on anything that HINCRBY might read otherwise.
local function nanos(text, name)
  if text ~= '0' and not string.find(text or '', '^[1-9]%d*$') or tonumber(text) > AMOUNT_MAX then
    error('BADARG ' .. name .. ' is no amount of nanos: ' .. tostring(text), 0)
  end
  return tonumber(text)
end

-- The same for an amount that may be negative.
local function signed_nanos(text, name)
  if string.find(text or '', '^%-[1-9]') then return 0 - nanos(string.sub(text, 2), name) end
  return nanos(text, name)
end

-- The text of a - b; both are texts of amounts >= 0. Exact: past 15 digits it subtracts in two halves of base 1e9.
local function difference(a, b)
  if #a < 16 and #b < 16 then return string.format('%.0f', a - b) end
  local high = (tonumber(string.sub(a, 1, -10)) or 0) - (tonumber(string.sub(b, 1, -10)) or 0)
  local low = string.sub(a, -9) - string.sub(b, -9)
  if high > 0 and low < 0 then high, low = high - 1, low + 1e9 end
  if high < 0 and low > 0 then high, low = high + 1, low - 1e9 end
  if high == 0 then return string.format('%.0f', low) end
  return string.format('%.0f%09.0f', high, math.abs(low))
end

-- The text of a + b, of texts of amounts >= 0.
local function total(a, b)
  if #a < 16 and #b < 16 then return string.format('%.0f', a + b) end
  local high = (tonumber(string.sub(a, 1, -10)) or 0) + (tonumber(string.sub(b, 1, -10)) or 0)
  local low = string.sub(a, -9) + string.sub(b, -9)
  if low >= 1e9 then high, low = high + 1, low - 1e9 end
  return string.format('%.0f%09.0f', high, low)
end

-- The text of a number, for replies: exact to 2^53, and never an exponent. Adding zero turns -0 into 0.
local function shown(number)
  return string.format('%.0f', number + 0)
end
