-- For the PDF: the parts of a slide that pandoc's Typst writer does not know.
-- A heading begins a page, notes are for the HTML alone, columns become a grid.

local function typst(text)
  return pandoc.RawBlock("typst", text)
end

local slides = 0

function Header(header)
  if FORMAT == "typst" and header.level == 1 then
    slides = slides + 1
    return slides > 1 and { typst("#next-slide"), header } or nil
  end
end

function Div(div)
  if FORMAT ~= "typst" then
    return nil
  elseif div.classes:includes("notes") then
    return {}
  elseif div.classes:includes("columns") then
    local widths, cells = {}, pandoc.Blocks({})
    for _, column in ipairs(div.content) do
      table.insert(widths, (column.attributes.width:gsub("%%", "fr")))
      cells:insert(typst("["))
      cells:insert(column)
      cells:insert(typst("],"))
    end
    cells:insert(1, typst("#columns-of((" .. table.concat(widths, ", ") .. "),"))
    cells:insert(typst(")"))
    return cells
  elseif div.classes:includes("lead") or div.classes:includes("aside") then
    return { typst("#" .. div.classes[1] .. "["), div, typst("]") }
  end
end
